import { pure } from "../ui/pure.tsx";
import { clock } from "../words/time.ts";
import { css, type Look, type Piece, pieces } from "./ansi.ts";
import { groupMark, type Line } from "./buffer.ts";

interface LineProperties {
  line: Line;
  /** When the log began. */
  first: number;
  pointed: boolean;
  /** Text that is searched for. */
  find: string;
  times: boolean;
  /** It may be the title of a group. */
  folds: boolean;
  folded: boolean;
  onFold: (line: number) => void;
  href: string | undefined;
}

/** More of one line than this makes the browser slow; the download has all of it. */
const MOST = 4000;

export const LogLine = pure(({ line, first, pointed, find, times, folds, folded, onFold, href }: LineProperties) => {
  const mark = groupMark(line.text);
  const title = folds && mark !== undefined && mark !== "end" ? mark.title : undefined;
  // Nothing but a colour is no title.
  const name = pieces(title ?? "");
  const cut = line.cut + Math.max(0, line.text.length - MOST);
  const text = line.text.slice(0, MOST);
  return (
    <div class={`row${line.error ? " error" : ""}${pointed ? " pointed" : ""} ${levelOf(text)}`}>
      {href ? <a class="at" href={href} aria-label={`Line ${line.number + 1}`}>{line.number + 1}</a> : <span class="at">{line.number + 1}</span>}
      {times && <span class="when" title={line.at ? clock(line.at) : ""}>{line.at ? `+${((line.at - first) / 1000).toFixed(1)}` : ""}</span>}
      {title === undefined
        ? <code>{mark === "end" ? "" : pieces(text).flatMap((piece) => marked(piece, find))}{cut > 0 && <em> … {cut.toLocaleString()} more</em>}</code>
        : <button type="button" class="fold" aria-expanded={!folded} onClick={() => onFold(line.number)}>{name.length > 0 ? name.flatMap((piece) => marked(piece, find)) : "group"}</button>}
    </div>
  );
});

/** What a runner marks as such. */
function levelOf(text: string): string {
  const found = /^(?:::|##\[)(error|warning|notice|debug|command)/.exec(text);
  return found ? `level-${found[1]}` : "";
}

function marked(piece: Piece, find: string) {
  const style = styleOf(piece.look);
  const show = (text: string, key: number) => (style ? <span key={key} style={style}>{text}</span> : text);
  if (find === "") return [show(piece.text, 0)];
  const all = [];
  const lower = piece.text.toLowerCase();
  const wanted = find.toLowerCase();
  let at = 0;
  for (let found = lower.indexOf(wanted); found >= 0 && lower.length === piece.text.length; found = lower.indexOf(wanted, at)) {
    all.push(show(piece.text.slice(at, found), at), <mark key={`m${found}`}>{piece.text.slice(found, found + find.length)}</mark>);
    at = found + find.length;
  }
  all.push(show(piece.text.slice(at), at));
  return all;
}

function styleOf(look: Look): Record<string, string> | undefined {
  const style: Record<string, string> = {};
  const bright = look.bold && typeof look.color === "number" && look.color < 8 ? look.color + 8 : look.color;
  // On a ground of its own a text's colour is its writer's business.
  let color = bright === undefined ? undefined : css(bright, look.background === undefined && !look.inverse);
  let background = look.background === undefined ? undefined : css(look.background, false);
  if (look.inverse) [color, background] = [background ?? "var(--log-ground)", color ?? "var(--log-ink)"];
  if (color) style["color"] = color;
  if (background) style["backgroundColor"] = background;
  if (look.bold) style["fontWeight"] = "600";
  if (look.dim) style["opacity"] = "0.7";
  if (look.italic) style["fontStyle"] = "italic";
  if (look.underline || look.strike) style["textDecoration"] = [look.underline && "underline", look.strike && "line-through"].filter(Boolean).join(" ");
  return Object.keys(style).length > 0 ? style : undefined;
}
