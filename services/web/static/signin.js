import { claims, isPerson, namesOf, placeHere } from "./tokens.js";

// Keeps a token in a cookie that goes only to us, and only from our own pages.
const COOKIE = "workflow_runner_token";
const base = location.pathname.replace(/\/(?:signin\/?)?$/, "");
const form = document.querySelector("form");
const error = document.querySelector("[data-error]");
const other = document.querySelector("[data-other]");

function next(known) {
  const place = placeHere(new URLSearchParams(location.search).get("next") ?? "", location.href);
  if (place) return place;
  const workspaces = known.workspaces && !Array.isArray(known.workspaces) ? Object.keys(known.workspaces) : known.workspaces;
  const workspace = known.workspace ?? workspaces?.[0];
  return workspace ? `${base}/workspaces/${encodeURIComponent(workspace)}` : null;
}

function say(sentence) {
  error.textContent = sentence;
  error.hidden = false;
  form.hidden = false;
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

function kept() {
  const token = document.cookie.match(/(?:^|; )workflow_runner_token=([^;]+)/)?.[1];
  const known = token && claims(token);
  return known && !(known.exp <= Date.now() / 1000) ? { token, known } : null;
}

// Whoever sends a link must not have somebody work as another without noticing.
function ask(token, known, signedIn) {
  const [name, present] = namesOf(known, signedIn.known);
  for (const place of other.querySelectorAll("[data-name]")) place.textContent = name;
  for (const place of other.querySelectorAll("[data-present]")) place.textContent = present;
  other.querySelector("[data-switch]").onclick = () => signIn(token);
  other.querySelector("[data-stay]").onclick = () => signIn(signedIn.token);
  other.hidden = false;
  form.hidden = true;
}

function followLink() {
  const token = location.hash.slice(1);
  if (!token) return false;
  // A token must not stay in the address, where it would be copied along with it.
  history.replaceState(null, "", location.pathname + location.search);
  const known = claims(token);
  const signedIn = kept();
  if (known && signedIn && !isPerson(known, signedIn.known)) ask(token, known, signedIn);
  else signIn(token);
  return true;
}

addEventListener("hashchange", followLink);
if (!followLink()) {
  // Links from other sites come without the cookie; from here it is sent. One that was refused is not tried again.
  const signedIn = kept();
  if (signedIn && !new URLSearchParams(location.search).has("again")) signIn(signedIn.token);
}
