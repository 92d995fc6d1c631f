// Keeps a token in a cookie that goes only to us, and only from our own pages.
const COOKIE = "workflow_runner_token";
const base = location.pathname.replace(/\/(?:signin\/?)?$/, "");
const form = document.querySelector("form");
const error = document.querySelector("[data-error]");

function claims(token) {
  try {
    const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  } catch {
    return null;
  }
}

function next(known) {
  const wanted = new URLSearchParams(location.search).get("next") ?? "";
  if (/^\/(?![/\\])/.test(wanted)) return wanted;
  const workspaces = known.workspaces && !Array.isArray(known.workspaces) ? Object.keys(known.workspaces) : known.workspaces;
  const workspace = known.workspace ?? workspaces?.[0];
  return workspace ? `${base}/workspaces/${encodeURIComponent(workspace)}` : null;
}

function say(sentence) {
  error.textContent = sentence;
  error.hidden = false;
}

function signIn(token) {
  token = token.trim().replace(/^Bearer\s+/i, "").replace(/^(export )?TOKEN=/, "");
  const known = claims(token);
  if (!known || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    return say("That is not a token. A token is one long line with two full stops in it.");
  }
  const seconds = known.exp ? Math.floor(known.exp - Date.now() / 1000) : 28800;
  if (seconds <= 0) return say("That token has expired. Ask for a new one.");
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}=${token}; Path=${base || "/"}; Max-Age=${seconds}; SameSite=Strict${secure}`;
  if (!document.cookie.includes(token)) return say("This browser keeps no cookies for this site, or the token is too long for one.");
  const place = next(known);
  if (!place) return say("You are signed in. The token names no workspace: open the address of one.");
  location.replace(place);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(form.elements.token.value);
});

const given = location.hash.slice(1);
if (given) {
  // A token must not stay in the address, where it would be copied along with it.
  history.replaceState(null, "", location.pathname + location.search);
  signIn(given);
} else {
  // Links from other sites come without the cookie; from here it is sent. One that was refused is not tried again.
  const kept = document.cookie.match(/(?:^|; )workflow_runner_token=([^;]+)/)?.[1];
  if (kept && claims(kept) && !new URLSearchParams(location.search).has("again")) signIn(kept);
}
