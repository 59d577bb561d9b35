// Whether a log's end stays in sight.

/** What of a window is asked here, in pixels. */
interface Box {
  scrollTop: number;
  clientHeight: number;
  scrollHeight: number;
}

/** This near to the end is at it: a row. */
const NEAR = 20;

/**
 * Whether it does after a scroll, where it did or did not before, and `seen` was the place. Only who goes up leaves the end: a log that
 * grows faster than it is drawn is past the window's lower edge, too, and nobody has moved.
 */
export function follows(did: boolean, seen: number, { scrollTop, clientHeight, scrollHeight }: Box): boolean {
  if (scrollTop + clientHeight >= scrollHeight - NEAR) return true;
  return did && scrollTop >= seen;
}
