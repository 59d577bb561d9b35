import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ApiFault } from "../../src/api/fault.ts";
import { css, pieces } from "../../src/log/ansi.ts";
import { groupMark, LARGEST, LogBuffer, LONGEST_LINE, MOST_GROUPS, MOST_LINES, plain } from "../../src/log/buffer.ts";
import { events } from "../../src/log/events.ts";
import { Finding } from "../../src/log/finding.ts";
import { follows } from "../../src/log/follow.ts";
import { LogReader, SILENCE } from "../../src/log/reader.ts";
import { Rows } from "../../src/log/rows.ts";
import { searchAll } from "../../src/log/search.ts";

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

test("a log of nothing but ends of lines has a bound, too", () => {
  const log = logOf("first\n", new Uint8Array(MOST_LINES + 5).fill(10), "more\n");
  assert.deepEqual([log.lines, log.size, log.dropped], [MOST_LINES, MOST_LINES - 1 + 6, 6 + 5]);
  assert.equal(log.line(0).text, "first");
  // The last that is kept may still grow to its end.
  const open = logOf(new Uint8Array(MOST_LINES - 1).fill(10), "half", " and half\nmore");
  assert.deepEqual([open.line(MOST_LINES - 1).text, open.dropped], ["half and half", 4]);
});

test("a log of nothing but groups has a bound of those, and the kept ones end where they do", () => {
  const many = "::group::x\n".repeat(MOST_GROUPS + 500);
  const log = logOf("::group::outer\n", many);
  assert.deepEqual([log.groups.length, log.groupsBeyond], [MOST_GROUPS, 501]);
  const changes = log.groupChanges;
  log.append(bytes("no mark\n::group::y\n"));
  assert.equal(log.groupChanges, changes, "what is told is the same");
  log.append(bytes("::endgroup::\n".repeat(502)));
  assert.equal(log.groups.at(-1).end, undefined);
  log.append(bytes("::endgroup::\n".repeat(MOST_GROUPS)));
  assert.equal(log.groups[0].end, log.lines);
  assert.ok(log.groups.every((group) => group.end !== undefined) && log.groupChanges > changes);
});

test("a search lets others do something, and ends when nobody waits for it", async () => {
  // With an escape sequence each is looked at by itself.
  const log = logOf("hit\n", "x".repeat(1000).concat("\u001B[m\n").repeat(10_000), "hit\nhi");
  let turns = 0;
  const all = (most, from, wanted = () => true) => searchAll(log, { text: "HIT", most, from }, wanted, async () => { turns += 1; });
  assert.deepEqual(await all(10, 0), { numbers: [0, 10_001], next: 10_002 });
  assert.ok(turns > 2, `${turns} turns`);
  assert.deepEqual(await all(1, 0), { numbers: [0], next: 1 });
  assert.equal(await all(10, 0, () => false), undefined);
  // The last line was not complete.
  log.append(bytes("t\n"));
  assert.deepEqual(await all(10, 10_002), { numbers: [10_002], next: 10_002 });
});

test("the way through the hits searches only for what has come since", async () => {
  const asked = [];
  let answers = [];
  const finding = new Finding(async (most, from) => { asked.push(from); return answers.shift(); }, () => undefined);
  answers = [{ numbers: [3, 5], next: 7 }, { numbers: [5, 8], next: 9 }, { numbers: [], next: 9 }, { numbers: [], next: 9 }];
  assert.equal(finding.words, "searching…");
  const first = finding.begin();
  assert.equal(finding.words, "searching…");
  assert.equal(await first, 3);
  assert.deepEqual([finding.words, finding.hasWay], ["1 of 2", true]);
  assert.equal(await finding.begin(), undefined, "once");
  assert.equal(await finding.move(1), 5);
  assert.equal(await finding.move(-1), 3);
  assert.deepEqual(asked, [0]);
  assert.equal(await finding.move(1), 5);
  assert.equal(await finding.move(1), 8, "the new one, and none twice");
  assert.equal(finding.words, "3 of 3");
  assert.equal(await finding.move(1), 3);
  assert.equal(await finding.move(-1), 8);
  assert.deepEqual(asked, [0, 7, 9, 9]);
  const none = new Finding(async () => ({ numbers: [], next: 0 }), () => undefined);
  assert.equal(await none.begin(), undefined);
  assert.equal(none.words, "nothing");
});

test("search finds text under its colours, whatever its case", () => {
  const log = logOf("nothing\n\u001b[31mErr\u001b[0mor here\nerror\n");
  assert.deepEqual(log.search("ERROR", 10, 0), { found: [1, 2], next: 3 });
  assert.deepEqual(log.search("error", 1, 0), { found: [1], next: 2 });
  assert.deepEqual(log.search("error", 10, 2).found, [2]);
  assert.deepEqual(log.search("", 10, 0).found, []);
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
  assert.equal(pieces("bell\u0007 null\u0000 rtl\u202Ex\u061C\u200B").map((piece) => piece.text).join(""), "bell\u2407 null\u2400 rtl\uFFFDx\uFFFD\uFFFD");
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

/** A reader with connections that the test speaks for. */
function reading(raw) {
  const connections = [];
  const broken = [];
  const opened = [];
  const reader = new LogReader({
    body: (address, signal) => new Promise((resolve, reject) => {
      const connection = {
        address: new URL(address),
        signal,
        begin: () => resolve(new ReadableStream({
          start(control) {
            connection.control = control;
            signal.addEventListener("abort", () => control.error(new DOMException("aborted", "AbortError")));
          },
        })),
        fail: reject,
      };
      signal.addEventListener("abort", () => reject(signal.reason));
      connections.push(connection);
      opened.shift()?.(connection);
    }),
    grown: () => undefined,
    broken: (why) => broken.push(why),
    sleep: async () => undefined,
  });
  /** The next connection, with its answer begun. */
  const next = async () => {
    const connection = connections[next.seen] ?? await new Promise((resolve) => opened.push(resolve));
    next.seen += 1;
    connection.begin();
    while (!connection.control) await null;
    return connection;
  };
  next.seen = 0;
  const say = ({ control }, name, data) => control.enqueue(bytes(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`));
  const chunk = (text, end) => ({ next: end, at: "", stream: "stdout", data: btoa(text) });
  const until = async (lines) => { while (reader.buffer.lines < lines) await new Promise((resolve) => setImmediate(resolve)); };
  return { reader, connections, broken, next, say, chunk, until, ended: reader.read("http://x/log?follow=true", raw) };
}

test("a log is read on where it was, over faults and rests, until its end is told", async () => {
  const { reader, connections, broken, next, say, chunk, until, ended } = reading(false);
  const first = await next();
  say(first, "output", chunk("one\n", 10));
  await until(1);
  say(first, "error", { error: { message: "the log cannot be read", hint: "look at the disk" } });
  const second = await next();
  assert.deepEqual(broken, ["the log cannot be read: look at the disk"]);
  assert.equal(second.address.searchParams.get("from"), "10");
  say(second, "output", chunk("two\n", 20));
  await until(2);
  reader.rest();
  reader.rest();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(connections.length, 2, "a tab that nobody sees has no connection");
  reader.goOn();
  const third = await next();
  assert.deepEqual([third.address.searchParams.get("from"), broken.length], ["20", 1]);
  say(third, "output", chunk("three\n", 30));
  say(third, "end", {});
  assert.equal(await ended, undefined);
  assert.deepEqual(texts(reader.buffer), ["one", "two", "three"]);
});

test("a connection that says nothing is given up, its answer's head included, and the log is read on by another", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const soon = () => new Promise((resolve) => setImmediate(resolve));
  try {
    const { connections, broken, next, say, chunk, until, ended } = reading(false);
    mock.timers.tick(SILENCE);
    await soon();
    assert.deepEqual([connections.length, connections[0].signal.aborted], [2, true], "no head came");
    next.seen = 1;
    const second = await next();
    say(second, "output", chunk("one\n", 10));
    await until(1);
    // A comment is all that a server has to say of a quiet job.
    for (let n = 0; n < 10; n += 1) {
      mock.timers.tick(SILENCE / 2);
      second.control.enqueue(bytes(":\n\n"));
      await soon();
    }
    assert.equal(connections.length, 2);
    mock.timers.tick(SILENCE);
    const third = await next();
    assert.equal(third.address.searchParams.get("from"), "10");
    assert.deepEqual(broken, Array(2).fill("nothing was heard of the server for 40 s"));
    say(third, "end", {});
    assert.equal(await ended, undefined);
  } finally {
    mock.timers.reset();
  }
});

test("a console may be silent as long as it likes, once its answer has begun", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { connections, next, until, ended } = reading(true);
    const first = await next();
    first.control.enqueue(bytes("boot\n"));
    await until(1);
    mock.timers.tick(100 * SILENCE);
    first.control.close();
    assert.equal(await ended, undefined);
    assert.equal(connections.length, 1);
  } finally {
    mock.timers.reset();
  }
});

test("a log is followed until somebody goes up in it, however fast it grows, and again from its end on", () => {
  const box = (scrollTop, scrollHeight) => ({ scrollTop, clientHeight: 500, scrollHeight });
  assert.equal(follows(true, 500, box(1000, 1500)), true);
  assert.equal(follows(true, 1000, box(1000, 9000)), true, "it has grown meanwhile");
  assert.equal(follows(true, 1000, box(1200, 9000)), true, "and was not yet brought to its end");
  assert.equal(follows(true, 1000, box(900, 9000)), false, "up");
  assert.equal(follows(false, 900, box(1200, 9000)), false, "down, and not to the end");
  assert.equal(follows(false, 1200, box(8500, 9000)), true, "the end");
  assert.equal(follows(true, 8500, box(300, 800)), true, "it has become shorter");
});

test("a console begins anew with each connection, and what there was stays until then", async () => {
  const { reader, broken, next, until, ended } = reading(true);
  const first = await next();
  first.control.enqueue(bytes("boot\n"));
  await until(1);
  first.control.error(new TypeError("network error"));
  const second = await next();
  assert.match(broken[0], /cannot be reached/);
  assert.deepEqual(texts(reader.buffer), ["boot"]);
  second.control.enqueue(bytes("boot\nlogin:\n"));
  await until(2);
  assert.deepEqual(texts(reader.buffer), ["boot", "login:"]);
  second.control.close();
  assert.equal(await ended, undefined);
});

test("a log that there is not ends with the server's words", async () => {
  const { connections, ended, broken } = reading(false);
  connections[0].fail(new ApiFault(503, "too many logs are being followed"));
  while (connections.length < 2) await null;
  connections[1].fail(new ApiFault(404, "there is no job j", "see the list"));
  assert.equal(await ended, "there is no job j: see the list");
  assert.deepEqual(broken, ["too many logs are being followed"]);
});

test("a search finds the same whether lines are looked at together or one by one", () => {
  const lines = Array.from({ length: 30_000 }, (_, n) => `line ${n} of a log, Ärger ${n % 1000}`);
  lines[12_345] += " \u001B[31mred\u001B[0m";
  lines[20_000] = "1%\r50%\rdone";
  lines[20_001] = "x".repeat(200_000);
  const log = logOf(`${lines.join("\n")}\n`);
  const all = (text) => {
    const found = [];
    for (let at = 0, steps = 0; at < log.lines; steps += 1) {
      const step = log.search(text, 10_000, at);
      assert.ok(step.next > at && steps < 1000);
      found.push(...step.found);
      at = step.next;
    }
    return found;
  };
  const shown = lines.map((_, n) => plain(log.line(n).text).toLowerCase());
  for (const text of ["LINE 29999 ", "ärger 999", "red", "a log, Ärger 345 red", "50%", "done", "31m", "log\n", "xxx", "nowhere", "0 of"]) {
    const wanted = shown.flatMap((line, n) => (line.includes(text.toLowerCase()) ? [n] : []));
    assert.deepEqual(all(text), wanted, text);
  }
  assert.deepEqual(all(""), []);
});

test("a log of 100 MB and a million lines is searched, and each of its lines is there by its number", () => {
  const count = 1_000_000;
  const log = new LogBuffer();
  const line = (n) => `line ${String(n).padStart(9)} ${".".repeat(84)}\n`;
  for (let n = 0; n < count; n += 1000) log.append(bytes(Array.from({ length: 1000 }, (_, more) => line(n + more)).join("")));
  assert.deepEqual([log.lines, log.size, log.dropped], [count, 100_000_000, 0]);
  for (const n of [0, 1, 10_485, 10_486, 499_999, 750_000, count - 1]) assert.equal(`${log.line(n).text}\n`, line(n));
  const found = [];
  for (let at = 0; at < count; ) {
    const step = log.search("98765", 10_000, at);
    found.push(...step.found);
    at = step.next;
  }
  const wanted = Array.from({ length: count }, (_, n) => n).filter((n) => String(n).includes("98765"));
  assert.deepEqual(found, wanted);
});
