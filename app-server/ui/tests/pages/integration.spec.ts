/* The HTTP integration by its page alone, against a receiver: delivery, refusals and dead letters, a receiver that is away, replay. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, test } from '@playwright/test';
import { accessible, demo, signIn } from './lib';

test.describe.configure({ mode: 'serial' });

class Receiver {
  status = 200;
  got: { key: string; authorization: string | undefined; status: number }[] = [];
  port = 0;
  private server?: Server;
  private sockets = new Set<Socket>();

  async start() {
    this.server = createServer((request, response) => {
      request.resume().on('end', () => {
        this.got.push({ key: String(request.headers['idempotency-key']), authorization: request.headers.authorization, status: this.status });
        response.writeHead(this.status).end();
      });
    });
    this.server.on('connection', (s) => {
      this.sockets.add(s);
      s.once('close', () => this.sockets.delete(s));
    });
    await new Promise<void>((done) => this.server!.listen(this.port, '127.0.0.1', done));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async stop() {
    const closed = new Promise((done) => this.server?.close(done));
    this.sockets.forEach((s) => s.destroy());
    await closed;
  }
}

const receiver = new Receiver();
let applicationId = '';

test.beforeAll(async ({ request }) => {
  await receiver.start();
  applicationId = (await demo(request)).applicationId;
});
test.afterAll(() => receiver.stop());

const shot = async (page: import('@playwright/test').Page, name: string) => {
  if (process.env.LONGWAVE_SHOTS) await page.screenshot({ path: `${process.env.LONGWAVE_SHOTS}/integration-${name}.png`, fullPage: true });
};

test('an integration is added; a wrong URL is refused at its field', async ({ page }) => {
  await signIn(page, `/applications/${applicationId}`);
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.getByText('Events go to the broker only')).toBeVisible();
  await shot(page, 'none');
  await page.getByRole('button', { name: 'Add HTTP integration' }).click();
  await page.getByLabel('URL').fill('ftp://example.org/');
  await page.getByRole('button', { name: 'Add HTTP integration' }).click();
  await expect(page.getByText(/is not an http:\/\/ or https:\/\/ URL/)).toBeVisible();
  await page.getByLabel('URL').fill(`http://127.0.0.1:${receiver.port}/hook?secret=1`);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Headers: Key 1').fill('Authorization');
  await page.getByLabel('Headers: Value 1').fill('Bearer abc');
  await accessible(page, 'form of an integration');
  await shot(page, 'form');
  await page.getByRole('button', { name: 'Add HTTP integration' }).click();
  await expect(page.getByRole('heading', { name: `http://127.0.0.1:${receiver.port}/hook` })).toBeVisible();
  await expect(page.getByText('secret=1')).toHaveCount(0);
  await expect(page.getByText('working', { exact: true })).toBeVisible({ timeout: 40_000 });
  expect(receiver.got[0]?.authorization).toBe('Bearer abc');
  await accessible(page, 'integrations');
  await shot(page, 'working');
});

test('what is refused is a dead letter, and is sent again', async ({ page }) => {
  receiver.status = 422;
  await signIn(page, `/applications/${applicationId}/integrations`);
  await expect(page.getByText('answered with status 422').first()).toBeVisible({ timeout: 40_000 });
  await shot(page, 'dead');
  await accessible(page, 'dead letters');
  receiver.status = 200;
  const refused = receiver.got.filter((g) => g.status === 422).map((g) => g.key);
  await page.getByRole('button', { name: 'Try all again' }).click();
  await expect(page.getByText('No dead letters')).toBeVisible();
  await expect.poll(() => refused.every((key) => receiver.got.some((g) => g.key === key && g.status === 200))).toBe(true);
});

test('a receiver that is away shows, and gets all when it is back', async ({ page }) => {
  await receiver.stop();
  await signIn(page, `/applications/${applicationId}/integrations`);
  await expect(page.getByText('failing', { exact: true })).toBeVisible({ timeout: 40_000 });
  await expect(page.getByText('Next attempt')).toBeVisible();
  await shot(page, 'failing');
  await receiver.start();
  await expect(page.getByText('working', { exact: true })).toBeVisible({ timeout: 60_000 });
});

test('replay sends again what was sent', async ({ page }) => {
  const before = new Set(receiver.got.filter((g) => g.status === 200).map((g) => g.key));
  await signIn(page, `/applications/${applicationId}/integrations`);
  await page.getByRole('button', { name: 'Replay' }).click();
  await shot(page, 'replay');
  await accessible(page, 'replay');
  receiver.got = [];
  await page.getByRole('dialog').getByRole('button', { name: 'Replay' }).click();
  await expect(page.getByText(/events? (is|are) sent again/)).toBeVisible();
  await expect.poll(() => [...before].every((key) => receiver.got.some((g) => g.key === key))).toBe(true);
});

test('the integration is removed', async ({ page }) => {
  await signIn(page, `/applications/${applicationId}/integrations`);
  await page.getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await expect(page.getByText('Events go to the broker only')).toBeVisible();
});
