// Makes an execute request of the form, sends it, and puts what is wrong with it beside the fields.
//
// Values are kept as pieces of JSON text, so that a large number or an object arrives as it was written.
import { ask, problemOf } from "./page.js";

const LARGEST_FILE = 2_500_000;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

const form = document.querySelector("[data-execute]");
const problem = form.querySelector("[data-problem]");
const said = form.querySelector("[data-said]");
const fields = [...form.querySelectorAll("[data-input]")];
const text = JSON.stringify;

class Wrong extends Error {}

/** The JSON of a scalar; null where nothing was given. */
function scalar(kind, control) {
  if (control.type === "checkbox") return String(control.checked);
  const value = control.value;
  if (kind === "boolean") return value || null;
  if (kind === "number" || kind === "integer") {
    const written = value.trim();
    if (control.validity?.badInput) throw new Wrong("This is not a number.");
    if (!written) return null;
    if (!NUMBER.test(written)) throw new Wrong("This is not a number.");
    return written;
  }
  return value === "" ? null : text(value);
}

function json(written) {
  if (!written.trim()) return null;
  let value;
  try {
    value = JSON.parse(written);
  } catch (error) {
    throw new Wrong(`This is not JSON: ${error.message}`);
  }
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  const says = isObject && ["href", "value", "bbox"].some((member) => Object.hasOwn(value, member));
  return isObject && !says ? `{"value": ${written.trim()}}` : written.trim();
}

function box(group) {
  const sides = [...group.querySelectorAll("[data-side]")];
  if (sides.every((side) => !side.value && !side.validity.badInput)) return null;
  const numbers = sides.map((side) => scalar("number", side));
  if (numbers.includes(null)) throw new Wrong("A bounding box needs all four sides.");
  return `{"bbox": [${numbers.join(", ")}], "crs": ${text(group.dataset.crs)}}`;
}

async function file(group) {
  const media = group.querySelector("[data-media]")?.value;
  const link = group.querySelector("[data-link]");
  const bytes = group.querySelector("[data-bytes]");
  if (link && !link.hidden) {
    if (!link.value.trim()) return null;
    return `{"href": ${text(link.value.trim())}${media ? `, "type": ${text(media)}` : ""}}`;
  }
  const chosen = bytes?.files[0];
  if (!chosen) return null;
  if (chosen.size > LARGEST_FILE) {
    throw new Wrong(`The file has ${(chosen.size / 1e6).toFixed(1)} MB; up to 2.5 MB can be sent along. Put it where it has an address.`);
  }
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Wrong("The file cannot be read."));
    reader.readAsDataURL(chosen);
  });
  const type = media ?? chosen.type;
  if (type?.startsWith("text/plain") && media) return `{"value": ${text(await chosen.text())}, "mediaType": ${text(media)}}`;
  const encoded = url.slice(url.indexOf(",") + 1);
  return `{"value": ${text(encoded)}, "encoding": "base64"${type ? `, "mediaType": ${text(type)}` : ""}}`;
}

async function valueOf(field) {
  const { kind, item } = field.dataset;
  switch (kind) {
    case "json": return json(field.querySelector("[data-value]").value);
    case "bbox": return box(field.querySelector(".bbox"));
    case "file": return file(field.querySelector("[data-file]"));
    case "list": {
      const items = [...field.querySelectorAll("[data-rows] [data-value]")].map((control) => scalar(item, control));
      const given = items.filter((one) => one !== null);
      return given.length ? `[${given.join(", ")}]` : null;
    }
    default: return scalar(kind, field.querySelector("[data-value]"));
  }
}

/** The execute request as text; null when a field cannot be read, which is then said beside it. */
async function request() {
  const inputs = [];
  let fine = true;
  for (const field of fields) {
    try {
      const value = await valueOf(field);
      if (value !== null) inputs.push(`    ${text(field.dataset.input)}: ${value}`);
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      blame(field, error.message);
      fine = false;
    }
  }
  return fine ? `{\n  "inputs": {\n${inputs.join(",\n")}\n  }\n}` : null;
}

// --- what is wrong ------------------------------------------------------------------------------------------------

function blame(field, sentence, control) {
  const error = field.querySelector("[data-error]");
  error.textContent = error.textContent ? `${error.textContent}\n${sentence}` : sentence;
  error.hidden = false;
  field.classList.add("wrong");
  for (const one of control ? [control] : field.querySelectorAll("[data-value], [data-side], [data-link], [data-bytes]")) {
    one.setAttribute("aria-invalid", "true");
  }
}

function clear() {
  problem.hidden = true;
  problem.classList.remove("fine");
  said.textContent = "";
  for (const field of fields) clearField(field);
}

function clearField(field) {
  field.classList.remove("wrong");
  const error = field.querySelector("[data-error]");
  error.hidden = true;
  error.textContent = "";
  for (const one of field.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
}

/** Shows a problem document: each error beside the field that its pointer names, the rest on top. */
function show(document_) {
  const others = [];
  for (const { pointer = "", detail } of document_.errors ?? []) {
    const [, part, name, ...rest] = pointer.split("/").map((one) => one.replaceAll("~1", "/").replaceAll("~0", "~"));
    const field = part === "inputs" && fields.find((one) => one.dataset.input === name);
    if (!field) {
      others.push(`${pointer}: ${detail}`);
      continue;
    }
    const control = /^\d+$/.test(rest[0] ?? "") ? field.querySelectorAll("[data-rows] [data-value]")[rest[0]] : undefined;
    const where = rest.length && !["value", "bbox"].includes(rest[0]) ? `${control ? `No. ${+rest[0] + 1}` : rest.join(" / ")}: ` : "";
    blame(field, where + detail, control);
  }
  const wrong = form.querySelectorAll(".wrong").length;
  tell(wrong ? ["Some inputs do not fit. They are marked below.", ...others].join("\n") : [document_.detail ?? "It was refused.", ...others].join("\n"));
  focusFirst();
}

function tell(sentence) {
  problem.textContent = sentence;
  problem.hidden = false;
}

function focusFirst() {
  const first = form.querySelector(".wrong [data-value], .wrong [data-side], .wrong [data-link], .wrong [data-bytes]");
  (first && !first.closest("[hidden]") ? first : problem).focus();
}

// --- sending --------------------------------------------------------------------------------------------------------

async function send(query, headers) {
  clear();
  const body = await request();
  if (body === null) {
    tell("Some inputs cannot be read. They are marked below.");
    focusFirst();
    return null;
  }
  const buttons = form.querySelectorAll(".actions button");
  for (const button of buttons) button.disabled = true;
  said.textContent = "Just a moment…";
  try {
    const answer = await ask(form.dataset.execute + query, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body,
    });
    if (answer.ok) return answer;
    if (answer.status === 401) tell("You are no longer signed in. Open the sign-in page in another tab, then come back here.");
    else show(await problemOf(answer));
  } catch {
    tell("The service cannot be reached. What you have filled in stays here; try again in a moment.");
    problem.focus();
  } finally {
    for (const button of buttons) button.disabled = false;
    said.textContent = "";
  }
  return null;
}

let key = crypto.randomUUID?.() ?? String(Math.random()).slice(2);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  // With the key, sending once more after an answer was lost does not run it twice.
  const answer = await send("", { Prefer: "respond-async", "Idempotency-Key": key });
  if (!answer) return;
  const { jobID } = await answer.json();
  location.assign(form.dataset.execute.replace(/\/processes\/[^/]+\/execution$/, `/jobs/${jobID}`));
});

form.querySelector("[data-validate]").addEventListener("click", async () => {
  if (await send("?validate-only=true", {})) {
    problem.classList.add("fine");
    tell("The inputs fit. Nothing was run.");
  }
});

addEventListener("pageshow", (event) => {
  // Whoever comes back to run it again means another job.
  if (event.persisted) key = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
});

// --- the form itself ------------------------------------------------------------------------------------------------

form.addEventListener("click", ({ target }) => {
  const list = target.closest("[data-list]");
  if (target.matches("[data-add]")) {
    const row = list.querySelector("template").content.cloneNode(true);
    list.querySelector("[data-rows]").append(row);
    list.querySelector("[data-rows]").lastElementChild.querySelector("[data-value]").focus();
  } else if (target.matches("[data-remove]")) {
    const rows = list.querySelector("[data-rows]");
    target.closest(".row").remove();
    if (!rows.children.length) list.querySelector("[data-add]").click();
  } else return;
  form.dispatchEvent(new Event("input"));
});

form.addEventListener("change", ({ target }) => {
  if (target.type !== "radio") return;
  const group = target.closest("[data-file]");
  group.querySelector("[data-link]").hidden = target.value !== "link";
  group.querySelector("[data-upload]").hidden = target.value !== "upload";
});

let waiting;
form.addEventListener("input", ({ target }) => {
  // The key stands for what was sent; other inputs are another job.
  key = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  const field = target.closest?.("[data-input]");
  if (field) clearField(field);
  clearTimeout(waiting);
  waiting = setTimeout(command, 200);
});

/** Writes the request as a command. Files are left out of it: they would fill the page. */
async function command() {
  const place = document.querySelector("[data-command] code");
  const inputs = [];
  for (const field of fields) {
    try {
      const uploads = field.dataset.kind === "file" && field.querySelector("[data-bytes]")?.files[0];
      const value = uploads ? '{"value": "…", "encoding": "base64"}' : await valueOf(field);
      if (value !== null) inputs.push(`${text(field.dataset.input)}: ${value}`);
    } catch {
      // Said when it is sent.
    }
  }
  const body = `{"inputs": {${inputs.join(", ")}}}`.replaceAll("'", "'\\''");
  place.textContent =
    'curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n' +
    `     -H "Prefer: respond-async" -d '${body}' \\\n     ${location.origin}${form.dataset.execute}`;
}

command();
