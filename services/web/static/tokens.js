// What a token says of its bearer, and where one may be led with it. Nothing here is trusted: the services verify.

export function claims(token) {
  try {
    const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const known = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    return known && typeof known === "object" ? known : null;
  } catch {
    return null;
  }
}

export const isPerson = (known, other) => known.sub === other.sub && known.iss === other.iss;

/** What to call two people, so that they can be told apart. */
export function namesOf(known, other) {
  const names = [known, other].map((one) => String(one.preferred_username ?? one.sub ?? "somebody without a name"));
  if (names[0] !== names[1]) return names;
  return [known, other].map((one, number) => `${names[number]} (${one.sub}, ${one.iss})`);
}

/** The address of a page of this site, or null. Browsers read much as another site that looks like a path of this one. */
export function placeHere(wanted, here) {
  let place;
  try {
    place = new URL(wanted, here);
  } catch {
    return null;
  }
  const { origin, protocol } = new URL(here);
  if (!wanted.startsWith("/") || place.origin !== origin || place.protocol !== protocol) return null;
  return origin + place.pathname + place.search + place.hash;
}
