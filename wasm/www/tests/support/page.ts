import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test as base } from "@playwright/test";
import { serve } from "./server.ts";

export { expect } from "@playwright/test";

/** The folder that `cargo xtask web` builds. */
export const built = fileURLToPath(new URL("../../dist", import.meta.url));

interface Options {
  /** Errors that the test brings about itself: a message that matches is no failure. */
  expectedErrors: RegExp | undefined;
}

interface Host {
  /** Address of the built page, without a slash at the end; each worker of Playwright has its own server. */
  origin: string;
}

/**
 * Playwright's `test`, on the built page. A test fails if the page logs an error, throws one, or asks another
 * host for anything.
 */
export const test = base.extend<Options, Host>({
  expectedErrors: [undefined, { option: true }],
  origin: [
    async ({}, use) => {
      if (!existsSync(built)) throw new Error("wasm/www/dist is not there; `cargo xtask web` builds it");
      const server = await serve(built);
      await use(server.origin);
      await server.close();
    },
    { scope: "worker" },
  ],
  baseURL: async ({ origin }, use) => use(`${origin}/`),
  context: async ({ context, expectedErrors }, use) => {
    const wrong: string[] = [];
    const unexpected = (what: string): void => {
      if (!expectedErrors?.test(what)) wrong.push(what);
    };
    context.on("console", (message) => {
      if (message.type() === "error") unexpected(`console: ${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => unexpected(`error: ${error.error().stack ?? error.error().message}`));
    context.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (protocol.startsWith("http") && hostname !== "127.0.0.1")
        wrong.push(`request to another host: ${request.url()}`);
    });
    await use(context);
    if (wrong.length > 0) throw new Error(`the page did what it must not:\n${wrong.join("\n")}`);
  },
});
