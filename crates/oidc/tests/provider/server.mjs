// A provider of OpenID Connect to log in at: the certified implementation of npm's `oidc-provider`, with people and groups of its
// own. `node server.mjs PACKAGES REDIRECT [userinfo]` says its issuer, and serves until its input ends. Whoever comes to
// /interaction/ID?as=NAME is logged in as NAME; without a name, there is a page on which people choose theirs. With `userinfo`, groups
// are told there, and not in the id token.
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// Nobody reads on after the issuer.
console.info = console.warn = console.error;

const [packages, redirect, userinfo] = process.argv.slice(2);
const entry = pathToFileURL(join(packages, "node_modules/oidc-provider/lib/index.js"));
const { default: Provider } = await import(entry.href);

const GROUPS = { anna: ["developers", "operations"], bert: ["developers"], carl: ["others"] };

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const client = { redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"] };
const provider = new Provider(issuer, {
  clients: [
    { ...client, client_id: "fire:actions", client_secret: "s3cret+of/the=client" },
    { ...client, client_id: "public", token_endpoint_auth_method: "none" },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  conformIdTokenClaims: userinfo === "userinfo",
  features: { devInteractions: { enabled: false } },
  pkce: { required: () => true },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: GROUPS[id] ?? [] }),
  }),
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid profile groups");
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();
server.on("request", async (request, response) => {
  const url = new URL(request.url, issuer);
  if (!url.pathname.startsWith("/interaction/")) return answer(request, response);
  const as = url.searchParams.get("as");
  if (as === null) {
    const names = Object.keys(GROUPS).map((name) => `<li><a href="?as=${name}">${name}</a>`);
    return response.setHeader("content-type", "text/html").end(`<!doctype html><title>Acme</title><ul>${names.join("")}</ul>`);
  }
  const result = as === "nobody" ? { error: "access_denied", error_description: "not today" } : { login: { accountId: as } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
});
console.log(issuer);
process.stdin.on("end", () => process.exit()).resume();
