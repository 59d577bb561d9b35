import "./style/index.css";
import { render } from "preact";
import { onLostLogin, whyNot } from "./api/call.ts";
import { lookWho, nobody, who } from "./api/session.ts";
import { App } from "./app.tsx";
import { connection, onBroken, stream } from "./live/live.ts";
import { whileHidden } from "./live/shown.ts";
import { applyTheme } from "./ui/theme.ts";

applyTheme();
onLostLogin(nobody);
onBroken(async () => {
  await lookWho();
  return who.get().kind === "nobody" ? undefined : whyNot();
});
// Live while somebody is logged in, and somebody can look.
let rests = false;
const goOn = () => {
  if (who.get().kind === "nobody" || rests) stream.stop();
  else stream.start();
};
who.listen(goOn);
// The answer to who looks may have been lost. Without it a live page has no buttons.
let wasLive = false;
connection.listen(() => {
  const isLive = connection.get().kind === "live";
  if (isLive && !wasLive && who.get().kind === "unknown") void lookWho();
  wasLive = isLive;
});
addEventListener("online", () => stream.hurry());
whileHidden({
  rest() {
    rests = true;
    goOn();
  },
  seen() {
    rests = false;
    goOn();
    stream.hurry();
  },
});

const root = document.querySelector("#app");
// What stands there until now is not the view's.
root?.replaceChildren();
if (root) render(<App />, root);
// Out of reach, too: then it says so, and tries again.
void lookWho().then(goOn);
