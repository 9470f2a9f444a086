/* Starts ./longwave up --demo for the tests and ends it, unless $LONGWAVE_URL and $LONGWAVE_PASSWORD name a running one. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');
const START_MS = 900_000; // it may have to build first

const free = (port: number) =>
  new Promise<boolean>((done) => {
    const s = createServer();
    s.once('error', () => done(false));
    s.listen(port, '127.0.0.1', () => s.close(() => done(true)));
  });

/** An offset at which the ports of the stack are free, and stay so until it takes them: below those that other tests take for
 * themselves (from 20480) and that the system gives to outgoing connections. */
async function freeOffset(): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const offset = 2_000 + 100 * Math.floor(Math.random() * 93);
    const ports = [1883, 6379, 8000, 8003, 8005, 8080, 8081, 9101, 9102, 9103, 9104].map((p) => p + offset);
    if ((await Promise.all(ports.map(free))).every(Boolean)) return offset;
  }
  throw new Error('no free ports');
}

export default async function start(): Promise<() => Promise<void>> {
  if (process.env.LONGWAVE_URL && process.env.LONGWAVE_PASSWORD) return async () => undefined;
  const state = await mkdtemp(join(tmpdir(), 'longwave-ui-'));
  const build = process.env.LONGWAVE_BUILD ? ['--build-dir', process.env.LONGWAVE_BUILD] : [];
  const env = { ...process.env, LONGWAVE_QUARANTINE__AFTER: '1', LONGWAVE_QUARANTINE__DURATION: '1h' }; // a flood of seconds is enough to see one
  const up = spawn(join(root, 'longwave'), ['up', '--demo', '--bind', '127.0.0.1', '--state', state, '--offset', String(await freeOffset()), ...build], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env });
  let text = '';
  const [url, password] = await new Promise<[string, string]>((done, fail) => {
    const timer = setTimeout(() => {
      up.kill('SIGTERM');
      fail(new Error(`./longwave up did not become ready\n${text}`));
    }, START_MS);
    const read = (piece: Buffer) => {
      text += piece.toString();
      const u = /^ {2}URL: +(http\S+)$/m.exec(text)?.[1];
      const p = /^ {2}password: +(\S+)/m.exec(text)?.[1];
      if (!u || !p || !text.includes('Ctrl-C ends it.')) return;
      clearTimeout(timer);
      done([u, p]);
    };
    up.stdout.on('data', read);
    up.stderr.on('data', read);
    up.once('exit', (code) => {
      clearTimeout(timer);
      fail(new Error(`./longwave up ended with ${code}\n${text}`));
    });
  });
  process.env.LONGWAVE_URL = url;
  process.env.LONGWAVE_PASSWORD = password;
  return async () => {
    const ended = new Promise((done) => up.once('exit', done));
    up.kill('SIGTERM');
    await Promise.race([ended, new Promise((r) => setTimeout(r, 20_000))]);
    up.kill('SIGKILL');
    await rm(state, { recursive: true, force: true });
  };
}
