// What every page needs: asking for things, telling times, signing out.

export const root = document.body.dataset.root ?? "";
const COOKIE = "workflow_runner_token";

/** Asks as the one who is signed in; the edge takes the token from the cookie. */
export function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  return fetch(path, { ...options, headers, credentials: "same-origin", cache: "no-store" });
}

/** The sentence of a problem document, or one of our own where there is none. */
export async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return { detail: `The answer was ${answer.status} ${answer.statusText}.` };
  }
}

/** Gets this page as it would be now. */
export async function fresh() {
  const answer = await ask(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    const error = new Error(`The page answers ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

export function age(moment) {
  const seconds = Math.floor((Date.now() - new Date(moment)) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86400);
  return `${days} day${days > 1 ? "s" : ""} ago`;
}

export function duration(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function tick() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = age(time.dateTime);
    if (time.textContent !== words) time.textContent = words;
  }
  for (const running of document.querySelectorAll("[data-since]")) {
    running.textContent = duration((Date.now() - new Date(running.dataset.since)) / 1000);
  }
}

/** Makes an element: `element("a", { href: "…" }, "text", …)`. */
export function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

function begin() {
  if (!document.querySelector("main")) return;
  setInterval(tick, 1000);
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  }
  for (const image of document.querySelectorAll("img.preview")) {
    // Of a small raster one wants to see the pixels.
    const fit = () => image.classList.toggle("small", image.naturalWidth < 400);
    if (image.complete) fit();
    image.addEventListener("load", fit);
  }
  const out = document.querySelector("[data-sign-out]");
  if (out && document.cookie.includes(`${COOKIE}=`)) {
    out.hidden = false;
    out.addEventListener("click", () => {
      const base = document.body.dataset.base ?? "";
      document.cookie = `${COOKIE}=; Path=${base || "/"}; Max-Age=0; SameSite=Strict`;
      location.assign(`${base}/signin`);
    });
  }
}

begin();
