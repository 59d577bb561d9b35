import assert from "node:assert/strict";
import { test } from "node:test";
import { css, pieces } from "../../src/log/ansi.ts";
import { groupMark, LARGEST, LogBuffer, LONGEST_LINE, plain } from "../../src/log/buffer.ts";
import { events } from "../../src/log/events.ts";
import { Rows } from "../../src/log/rows.ts";

const bytes = (text) => new TextEncoder().encode(text);

function logOf(...parts) {
  const log = new LogBuffer();
  for (const part of parts) log.append(typeof part === "string" ? bytes(part) : part);
  return log;
}
const texts = (log) => Array.from({ length: log.lines }, (_, number) => log.line(number).text);

test("lines are the same however their bytes come", () => {
  const text = "one\ntwo\r\n\nÄpfel 🍏\nlast without an end";
  const whole = texts(logOf(text));
  assert.deepEqual(whole, ["one", "two", "", "Äpfel 🍏", "last without an end"]);
  for (let size = 1; size < 12; size += 1) {
    const all = bytes(text);
    const log = new LogBuffer();
    for (let at = 0; at < all.length; at += size) log.append(all.subarray(at, at + size));
    assert.deepEqual(texts(log), whole, `in pieces of ${size}`);
  }
  assert.deepEqual(texts(logOf("a\n", "\n", "b")), ["a", "", "b"]);
  assert.equal(logOf("").lines, 0);
});

test("a progress bar is its last state, as on a terminal", () => {
  assert.deepEqual(texts(logOf("1%\r50%\r100%\ndone\r\n")), ["100%", "done"]);
  assert.deepEqual(texts(logOf("1%\r", "50%\r")), ["50%"]);
  assert.deepEqual(texts(logOf("\r\r\r\n")), [""]);
});

test("lines over the edge of a block are whole", () => {
  const line = "x".repeat(700_000);
  const log = logOf(`${line.slice(0, 40_000)}\n`, "y".repeat(1_030_000), "\n", "end\n");
  assert.equal(log.line(0).text.length, 40_000);
  assert.equal(log.line(1).text.length, LONGEST_LINE);
  assert.equal(log.line(1).cut, 1_030_000 - LONGEST_LINE);
  assert.equal(log.line(2).text, "end");
  const edge = logOf("z".repeat((1 << 20) - 3), "\nacross the edge\n");
  assert.equal(edge.line(1).text, "across the edge");
});

test("what is no UTF-8 is shown as such, and nothing is thrown", () => {
  const log = logOf(Uint8Array.of(0xff, 0xfe, 0x41, 0xc3, 0x28, 0x0a, 0xf0, 0x9f, 0x0a, 0x00, 0x0a));
  assert.deepEqual(texts(log), ["\uFFFD\uFFFDA\uFFFD(", "\uFFFD", "\u0000"]);
});

test("a log has a bound, and what is beyond it is counted", () => {
  const log = new LogBuffer();
  const piece = new Uint8Array(64 << 20).fill(97);
  for (let n = 0; n < 5; n += 1) log.append(piece);
  assert.equal(log.size, LARGEST);
  assert.equal(log.dropped, 5 * piece.length - LARGEST);
  assert.equal(log.line(0).text.length, LONGEST_LINE);
});

test("search finds text under its colours, whatever its case", () => {
  const log = logOf("nothing\n\u001b[31mErr\u001b[0mor here\nerror\n");
  assert.deepEqual(log.search("ERROR", 10), [1, 2]);
  assert.deepEqual(log.search("error", 1), [1]);
  assert.deepEqual(log.search("", 10), []);
  assert.equal(plain("\u001b]8;;javascript:x\u0007link\u001b]8;;\u0007 \u001b[2Jz"), "link z");
});

test("groups open, nest, and may never end", () => {
  const log = logOf("a\n::group::Build\nb\n##[group]Inner\nc\n##[endgroup]\n::endgroup::\nd\n::endgroup::\n::group::Open\ne\n");
  assert.deepEqual(log.groups.map(({ line, title, end }) => [line, title, end]), [[1, "Build", 7], [3, "Inner", 6], [9, "Open", undefined]]);
  assert.equal(groupMark("x ::group::no"), undefined);
  // A mark in two pieces.
  assert.equal(logOf("::gr", "oup::X\n").groups[0].title, "X");
});

test("rows are lines without those of folded groups", () => {
  const groups = [{ line: 1, title: "", end: 7 }, { line: 3, title: "", end: 6 }, { line: 9, title: "", end: undefined }];
  const rows = new Rows(12, groups, new Set([1, 3, 9]));
  assert.equal(rows.count, 12 - 5 - 2);
  assert.deepEqual([0, 1, 2, 3, 4].map((row) => rows.line(row)), [0, 1, 7, 8, 9]);
  assert.deepEqual([0, 1, 4, 7, 11].map((line) => rows.row(line)), [0, 1, 1, 2, 4]);
  const open = new Rows(12, groups, new Set([3]));
  assert.equal(open.count, 10);
  for (let row = 0; row < open.count; row += 1) assert.equal(open.row(open.line(row)), row);
});

test("colours and weights are taken from a line", () => {
  assert.deepEqual(pieces("a\u001b[1;31mb\u001b[0mc"), [
    { text: "a", look: {} }, { text: "b", look: { bold: true, color: 1 } }, { text: "c", look: {} },
  ]);
  assert.deepEqual(pieces("\u001b[38;5;200;48;2;1;2;3mx")[0].look, { color: 200, background: "#010203" });
  assert.deepEqual(pieces("\u001b[38;5;999mx")[0].look, {});
  assert.deepEqual(pieces("\u001b[91;4mx\u001b[39mz").map(({ look }) => look), [{ color: 9, underline: true }, { underline: true }]);
  assert.equal(css(3, true), "var(--ansi-3)");
  assert.match(css(16, true), /^rgb\(\d{2,3} /, "black is lifted on the dark ground");
  assert.equal(css(16, false), "rgb(0 0 0)");
});

test("no sequence does anything else, and none is half-shown", () => {
  for (const sequence of [
    "\u001b]0;title\u0007", "\u001b]2;title\u001b\\", "\u001b]52;c;aGk=\u0007", "\u001b[2J", "\u001b[1;1H", "\u001b[?1049h", "\u001bP+q\u001b\\",
    "\u001bc", "\u001b(B", "\u001b[>0q", "\u001b]8;;http://x\u0007", "\u001b[12;99;m",
  ]) {
    const text = pieces(`a${sequence}b`).map((piece) => piece.text).join("");
    assert.equal(text, "ab", JSON.stringify(sequence));
  }
  // Cut off in the middle.
  for (const sequence of ["\u001b", "\u001b[", "\u001b[3", "\u001b]0;never ends", "\u001bP"]) {
    assert.equal(pieces(`a${sequence}`).map((piece) => piece.text).join(""), "a", JSON.stringify(sequence));
  }
  assert.equal(pieces("bell\u0007 null\u0000 rtl\u202Ex").map((piece) => piece.text).join(""), "bell\u2407 null\u2400 rtl\uFFFDx");
});

test("events are read however their bytes come", async () => {
  const text = "event: output\nid: 7\ndata: {\"a\":\"ä\"}\n\n: comment\n\nevent: end\ndata: x\ndata: y\n\nevent: cut\ndata";
  for (const size of [1, 2, 3, 7, 1000]) {
    const all = bytes(text);
    const body = new ReadableStream({
      start(control) {
        for (let at = 0; at < all.length; at += size) control.enqueue(all.subarray(at, at + size));
        control.close();
      },
    });
    const found = [];
    for await (const event of events(body)) found.push(event);
    assert.deepEqual(found, [{ name: "output", data: '{"a":"ä"}' }, { name: "end", data: "x\ny" }]);
  }
});
