import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { HIDDEN, whileHidden } from "../../src/live/shown.ts";

function tab(hidden = false) {
  const target = new EventTarget();
  return Object.assign(target, {
    hidden,
    turn(to) {
      target.hidden = to;
      target.dispatchEvent(new Event("visibilitychange"));
    },
  });
}

test("a tab that nobody sees rests after a while, and goes on when it is seen", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const page = tab();
    const said = [];
    const end = whileHidden({ rest: () => said.push("rest"), seen: () => said.push("seen") }, page);
    mock.timers.tick(10 * HIDDEN);
    assert.deepEqual(said, []);
    page.turn(true);
    mock.timers.tick(HIDDEN - 1);
    page.turn(false);
    mock.timers.tick(HIDDEN);
    assert.deepEqual(said, ["seen"], "somebody looked away for a moment");
    page.turn(true);
    mock.timers.tick(HIDDEN);
    assert.deepEqual(said, ["seen", "rest"]);
    page.turn(false);
    assert.deepEqual(said, ["seen", "rest", "seen"]);
    page.turn(true);
    end();
    mock.timers.tick(HIDDEN);
    page.turn(false);
    assert.deepEqual(said, ["seen", "rest", "seen"], "no more once it is ended");
    // Opened in the background.
    whileHidden({ rest: () => said.push("rest"), seen: () => undefined }, tab(true));
    mock.timers.tick(HIDDEN);
    assert.equal(said.at(-1), "rest");
  } finally {
    mock.timers.reset();
  }
});
