// node sizes.mjs FOLDER: a line for each file below it, `BYTES GZIPPED PATH`.
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";

const folder = process.argv[2];
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath ?? entry.path, entry.name);
  const bytes = readFileSync(path);
  console.log(
    bytes.length,
    gzipSync(bytes, { level: 9 }).length,
    relative(folder, path).replaceAll("\\", "/"),
  );
}
