// The state of the chosen model: who signed it, whether that is trusted, which release it is, whether it is sealed, when it
// was checked, what is damaged, where it came from; and whether there is an update, if somebody asks (update.js).
import { call } from "/api.js";
import { make } from "/elements.js";
import { showUpdate, size } from "/update.js";
import { say } from "/words.js";

const GOOD = new Set(["trusted"]);
const BAD = new Set(["wrong", "revoked", "expired", "refused"]);

const day = (seconds) => new Date(seconds * 1000).toLocaleDateString(document.documentElement.lang, { dateStyle: "medium" });

function standing({ status, trusted_since: since }) {
  const texts = {
    trusted: () => say("trustedSince", { day: day(since) }),
    unknown: () => say("keyUnknown"),
    elsewhere: () => say("keyUnknown"),
    expired: () => say("signatureExpired"),
    revoked: () => say("keyRevoked"),
    wrong: () => say("signatureWrong"),
    refused: () => say("modelRefused"),
    unsigned: () => say("unsigned"),
    onnx: () => say("unsigned"),
  };
  return (texts[status] || (() => say("unchecked")))();
}

function rows(facts) {
  const mark = GOOD.has(facts.status) ? "good" : BAD.has(facts.status) ? "bad" : "";
  const found = [[say("signature"), standing(facts), mark]];
  if (facts.signed_by) found.push([say("signedBy"), facts.signed_by, ""], [say("fingerprint"), facts.fingerprint, "letters"]);
  if (facts.version) found.push([say("version"), String(facts.version), ""]);
  if (facts.num_bytes) found.push([say("modelSize"), size(facts.num_bytes), ""]);
  if (facts.seal) found.push([say("storage"), say({ plain: "plain", sealed: "sealed", mixed: "halfSealed" }[facts.seal]), facts.seal === "sealed" ? "good" : ""]);
  if (facts.status !== "onnx") found.push([say("checked"), checked(facts), ""]);
  if (facts.num_checked) found.push([say("whileUsed"), again(facts), ""]);
  if (facts.num_damaged) found.push([say("damagedChunks"), say("damagedCount", { count: facts.num_damaged, chunks: facts.num_chunks }), "bad"]);
  if (facts.origin) found.push([say("pulledFrom"), `${facts.origin.address}\n${day(Date.parse(facts.origin.pulled_at) / 1000)}`, ""]);
  return found;
}

function checked({ verified, seal }) {
  if (seal === "sealed") return say("checkedWhenRead");
  return verified ? day(verified) : say("notChecked");
}

/** By whom looks after it while it is in use, chunk by chunk. */
function again({ num_checked: checked, num_chunks: chunks, checked_since: since }) {
  return say(checked < chunks ? "checkedSome" : "checkedAll", { checked, chunks, day: day(since) });
}

/** Fills a definition list and what is below it; leaves them hidden where the server tells nothing. */
export async function showOrigin(list, update, model) {
  list.hidden = update.hidden = true;
  update.replaceChildren();
  const facts = model && (await fill(list, model));
  if (facts?.origin) await showUpdate(update, model, facts.origin.address, () => fill(list, model));
}

async function fill(list, model) {
  const answer = await call("GET", `/v1/models/${encodeURIComponent(model)}`).catch(() => null);
  const facts = answer?.pocketseek;
  if (!facts) return null;
  list.replaceChildren(
    make("dt", {}, say("model")), make("dd", {}, model),
    ...rows(facts).flatMap(([label, value, kind]) => [make("dt", {}, label), make("dd", { class: kind }, value)]));
  list.hidden = false;
  return facts;
}
