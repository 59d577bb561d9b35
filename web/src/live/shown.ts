// Whether somebody can see this tab.

/** A tab that is hidden for longer rests. Whoever looks at another one for a moment comes back to what is live. */
export const HIDDEN = 10_000;

/** What a document has that is used here. */
interface Page {
  readonly hidden: boolean;
  addEventListener(name: "visibilitychange", listener: () => void): void;
  removeEventListener(name: "visibilitychange", listener: () => void): void;
}

/**
 * Says when the tab has been hidden for a while, and when it is seen again: at once where it was hidden only shortly, so `seen` may come
 * without `rest` before it. A browser has six connections for a host over all its tabs (HTTP/1.1), and a stream keeps one. Gives what
 * ends it.
 */
export function whileHidden({ rest, seen }: { rest: () => void; seen: () => void }, page: Page = document): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = () => {
    clearTimeout(timer);
    if (page.hidden) timer = setTimeout(rest, HIDDEN);
    else seen();
  };
  page.addEventListener("visibilitychange", look);
  // Opened in the background, it has not been seen yet.
  if (page.hidden) look();
  return () => {
    clearTimeout(timer);
    page.removeEventListener("visibilitychange", look);
  };
}
