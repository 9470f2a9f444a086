// Writes src/api/schema.d.ts from the OpenAPI document of this build: $LONGWAVE_BUILD/bin/lw-openapi prints it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';

const ui = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const build = process.env.LONGWAVE_BUILD ?? resolve(ui, '../../build/dev');
const tool = join(build, 'bin', 'lw-openapi');
if (!existsSync(tool)) {
  console.error(`schema: ${tool} is not there; build the target lw-openapi, or set LONGWAVE_BUILD to the build folder`);
  process.exit(1);
}
const document = JSON.parse(execFileSync(tool, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }));
const text = '// Generated from the OpenAPI document of this build. Not edited, not committed.\n' + astToString(await openapiTS(document));
const out = join(ui, 'src/api/schema.d.ts');
if (!existsSync(out) || readFileSync(out, 'utf8') !== text) writeFileSync(out, text);
