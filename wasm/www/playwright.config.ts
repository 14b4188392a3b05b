import { existsSync } from "node:fs";
import { defineConfig, devices } from "@playwright/test";

// A browser of the system; without one, whatever Playwright has installed.
const chromium = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser"].find(
  (path) => path && existsSync(path),
);

export default defineConfig({
  // A test that passes only at the second attempt hides a fault.
  retries: 0,
  workers: 2,
  fullyParallel: true,
  forbidOnly: process.env["CI"] !== undefined,
  // A machine that compiles something else at the same time is slow.
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: "list",
  projects: [
    { name: "unit", testDir: "tests/unit" },
    {
      name: "page",
      testDir: "tests/e2e",
      use: {
        ...devices["Desktop Chrome"],
        launchOptions: {
          ...(chromium && { executablePath: chromium }),
          args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        },
      },
    },
  ],
});
