import "./style/index.css";
import { render } from "preact";
import { onLostLogin } from "./api/call.ts";
import { lookWho, nobody, who } from "./api/session.ts";
import { App } from "./app.tsx";
import { onBroken, stream } from "./live/live.ts";
import { applyTheme } from "./ui/theme.ts";

applyTheme();
onLostLogin(nobody);
onBroken(() => void lookWho());
// Live while somebody is logged in.
who.listen(() => {
  if (who.get().kind === "nobody") stream.stop();
  else stream.start();
});
addEventListener("online", () => stream.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) stream.hurry();
});

const root = document.querySelector("#app");
// What stands there until now is not the view's.
root?.replaceChildren();
if (root) render(<App />, root);
void lookWho().then(() => {
  // Out of reach, too: then it says so, and tries again.
  if (who.get().kind !== "nobody") stream.start();
});
