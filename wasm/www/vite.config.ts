import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { mathematics } from "./build/mathematics.ts";

const pkg = fileURLToPath(new URL("../pkg/flowrl_wasm.js", import.meta.url));

/** The development server injects styles, which the policy forbids: it holds for the built page alone. */
const withoutPolicyInDevelopment: Plugin = {
  name: "without-policy-in-development",
  apply: "serve",
  transformIndexHtml: (html) => html.replace(/<meta\s+http-equiv="Content-Security-Policy"[^>]*>/, ""),
};

export default defineConfig({
  // A folder that any host can serve, under any path.
  base: "./",
  plugins: [mathematics(), withoutPolicyInDevelopment],
  resolve: { alias: { flowrl_wasm: pkg } },
  server: { fs: { allow: [".."] } },
  worker: { format: "es" },
  // Nothing is inlined: the policy allows no data: but in images.
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
});
