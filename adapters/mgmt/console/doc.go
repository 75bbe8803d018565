// Package console is the web console: a program for browsers, embedded, that
// the management port serves at "/". It knows nothing of the broker; it speaks
// the HTTP API below /api like any other client, with the user's credentials.
//
//	src/*.tsx, src/css ── build.js (esbuild) ──▶ dist/ ── go:embed ──▶ Handler ──▶ browser
//	                                             committed                           │
//	                        /api, by its own users' rights ◀────── fetch ────────────┘
//
// dist is committed, so that building Leveret needs no Node. "make console"
// makes it anew; TestBundle, under the build tag clients, proves that it is what
// src makes, byte for byte, and that src passes the type checker.
//
// What keeps it safe: a content security policy that allows nothing but its own
// three files, no cookies (the Authorization header lives in the tab's session
// storage and no other site can send it), and that all rights are checked by
// the API; the console only leaves out what the API would refuse.
//
// In src, lib is what has no looks: the API (api.ts), the user (session.ts), the
// URL (router.ts), data that keeps itself up to date (live.ts, sse.ts, patch.ts).
// ui are parts: the frame (shell.tsx), long lists (list.tsx), charts, dialogs.
// pages has a file for each page; pages/index.tsx names them all.
//
// Goroutines: only net/http's. Locks: none.
package console
