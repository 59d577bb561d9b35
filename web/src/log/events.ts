// Server-sent events out of the bytes of an answer.

export interface ServerEvent {
  name: string;
  data: string;
}

/** The events of an answer, as they come. `heard` is told whenever anything does, a comment too. */
export async function* events(body: ReadableStream<Uint8Array>, heard?: () => void): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard?.();
      rest += decoder.decode(value, { stream: true });
      let end = rest.indexOf("\n\n");
      let from = 0;
      while (end >= 0) {
        const event = parse(rest.slice(from, end));
        if (event) yield event;
        from = end + 2;
        end = rest.indexOf("\n\n", from);
      }
      rest = rest.slice(from);
    }
  } finally {
    // Who stops to read wants no more of it.
    await reader.cancel().catch(() => undefined);
  }
}

function parse(block: string): ServerEvent | undefined {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const field = line.slice(0, colon);
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
  }
  return data.length > 0 ? { name, data: data.join("\n") } : undefined;
}
