/** The address of another page, if it is one that may be gone to: never a script. */
export function safeLink(text: string | null | undefined): string | undefined {
  if (!text) return undefined;
  try {
    const address = new URL(text);
    return address.protocol === "https:" || address.protocol === "http:" ? address.href : undefined;
  } catch {
    return undefined;
  }
}
