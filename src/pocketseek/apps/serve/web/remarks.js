// What the reader of a document has left out, or could not read: in a line for its card, and one by one.
import { openSheet } from "/dialogs.js";
import { say } from "/words.js";

const MOST_LINES = 40;
const ON_PAGE = { "picture-page": "pictureOn", "damaged-part": "damagedOn", "left-out": "overfullOn" };

const count = (remarks, code) => remarks.filter((one) => one.code === code).length;
/** Of remarks whose detail says how many. */
const number = (remarks, code) => remarks.filter((one) => one.code === code).reduce((sum, one) => sum + (parseInt(one.detail, 10) || 0), 0);

/** "3 pages are pictures · 2 comments were left out"; "" if all was read. */
export function inShort(remarks) {
  const parts = [
    [count(remarks, "picture-page"), "pictures"],
    [count(remarks, "damaged-part"), "damaged"],
    [count(remarks, "left-out"), "overfull"],
    [number(remarks, "comments"), "comments"],
    [number(remarks, "running-lines"), "runningLines"],
  ];
  return parts.filter(([many]) => many).map(([many, word]) => say(word, { count: many })).join(" · ");
}

/** Whether something of the text itself is missing. */
export const isMissing = (remarks) => remarks.some(({ code }) => code in ON_PAGE);

/** onRead({ocr, comments}): read it once more. */
export function openRemarks(title, remarks, onRead) {
  const actions = [];
  if (count(remarks, "picture-page")) actions.push({ icon: "search", label: say("readPictures"), run: () => onRead({ ocr: true }) });
  if (count(remarks, "comments")) actions.push({ icon: "edit", label: say("readComments"), run: () => onRead({ comments: true }) });
  const lines = remarks.map(lineOf);
  const more = lines.length > MOST_LINES ? [`… ${lines.length - MOST_LINES}`] : [];
  return openSheet(title, actions, [...lines.slice(0, MOST_LINES), ...more]);
}

function lineOf({ code, page, detail }) {
  if (code === "running-lines") return say("runningLines", { count: detail });
  if (code === "comments") return say("comments", { count: detail });
  return page === null ? say("damagedPart", { detail }) : say(ON_PAGE[code], { page });
}
