import { join } from "node:path";
import { build, createServer } from "vite";
import { greeting, install } from "../support/package.ts";
import { expect, test } from "../support/page.ts";
import { serve } from "../support/server.ts";

// A browser asks for the icon of a page that names none.
test.use({ expectedErrors: /favicon\.ico/ });

test("the npm package works in a page without a build", async ({ page }, info) => {
  const folder = install("script", info);
  const server = await serve(folder);
  await page.goto(`${server.origin}/`);
  await expect(page.locator("#answer")).toHaveText(greeting);
  await server.close();
});

test("the npm package works in a page that Vite has built", async ({ page }, info) => {
  const folder = install("vite", info);
  await build({ root: folder, logLevel: "warn" });
  const server = await serve(join(folder, "dist"));
  await page.goto(`${server.origin}/`);
  await expect(page.locator("#answer")).toHaveText(greeting);
  await server.close();
});

test("the npm package works in Vite's development server", async ({ page }, info) => {
  const folder = install("vite", info);
  const server = await createServer({
    root: folder,
    logLevel: "warn",
    server: { host: "127.0.0.1", port: 0 },
  });
  await server.listen();
  await page.goto(server.resolvedUrls?.local[0] ?? "");
  await expect(page.locator("#answer")).toHaveText(greeting);
  await server.close();
});
