// The page without its server: it opens and says so. The server puts `SHELL` in front, {version, files}: with every
// change of a file this script is another one, and a new version is fetched whole. Nothing that was said is kept here.
/* global SHELL */
const NAME = `pocketseek-${SHELL.version}`;

self.addEventListener("install", (event) => {
  const requests = SHELL.files.map((path) => new Request(path, { cache: "no-cache" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) if (name.startsWith("pocketseek-") && name !== NAME) await caches.delete(name);
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin || !SHELL.files.includes(pathname)) return;
  event.respondWith(caches.open(NAME).then((cache) => cache.match(pathname)).then((found) => found || fetch(event.request)));
});
