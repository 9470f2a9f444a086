// After a build: puts a .gz beside every text file (the app-server sends it) and fails when the first load is too large.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';

const LIMIT = 250_000;
const out = process.env.LONGWAVE_UI_OUT ?? 'dist';
const sizes = new Map();

function walk(dir) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) walk(path);
    else if (/\.(js|css|html|svg|json)$/.test(name)) {
      const zipped = gzipSync(readFileSync(path), { level: 9 });
      writeFileSync(`${path}.gz`, zipped);
      sizes.set(relative(out, path), zipped.length);
    }
  }
}
walk(out);

const manifest = JSON.parse(readFileSync(join(out, 'assets/manifest.json'), 'utf8'));
const first = new Set(['index.html', 'theme.js', 'favicon.svg']);
(function follow(key) {
  const entry = manifest[key];
  if (!entry || first.has(entry.file)) return;
  first.add(entry.file);
  for (const css of entry.css ?? []) first.add(css);
  for (const next of entry.imports ?? []) follow(next);
})('index.html');

let total = 0;
for (const file of [...first].sort()) {
  total += sizes.get(file) ?? 0;
  console.log(`${String(sizes.get(file) ?? 0).padStart(8)}  ${file}`);
}
console.log(`${String(total).padStart(8)}  first load, gzip; limit ${LIMIT}; ${sizes.size - first.size} more files load with their pages`);
if (total > LIMIT) process.exit(1);
