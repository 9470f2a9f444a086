/* What the page tests share: signing in, the API beside the page, accessibility. */
import AxeBuilder from '@axe-core/playwright';
import { expect, type APIRequestContext, type Page } from '@playwright/test';

export const url = () => process.env.LONGWAVE_URL ?? '';
export const password = () => process.env.LONGWAVE_PASSWORD ?? '';
/** Names that no other run has used. */
export const unique = Math.random().toString(16).slice(2, 8).padEnd(6, '0');
export const hex = (digits: number) => Array.from({ length: digits }, () => Math.floor(Math.random() * 16).toString(16)).join('');

export async function signIn(page: Page, path = '/', user = 'admin', secret = password()) {
  await page.goto(new URL(path, url()).href);
  await page.getByLabel('User or e-mail').fill(user);
  await page.getByLabel('Password', { exact: true }).fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('navigation', { name: 'Main navigation' }).or(page.getByRole('button', { name: 'Menu' })).first()).toBeVisible();
}

export class Api {
  private constructor(
    private readonly request: APIRequestContext,
    private readonly token: string,
  ) {}

  static async open(request: APIRequestContext, email = 'admin', secret = password()): Promise<Api> {
    const answer = await request.post(new URL('/api/internal/login', url()).href, { data: { email, password: secret } });
    expect(answer.ok(), await answer.text()).toBe(true);
    return new Api(request, ((await answer.json()) as { jwt: string }).jwt);
  }

  async call<T = Record<string, unknown>>(method: string, path: string, data?: unknown): Promise<T> {
    const answer = await this.request.fetch(new URL(path, url()).href, { method, data, headers: { Authorization: `Bearer ${this.token}` } });
    expect(answer.ok(), `${method} ${path}: ${await answer.text()}`).toBe(true);
    return (await answer.json()) as T;
  }

  /** A simulated device that was heard, with its application and tenant. */
  async demo(): Promise<{ tenantId: string; applicationId: string; devEui: string; gatewayId: string; profileId: string }> {
    type List<T> = { result: T[] };
    for (const tenant of (await this.call<List<{ id: string }>>('GET', '/api/tenants?limit=100')).result) {
      for (const application of (await this.call<List<{ id: string }>>('GET', `/api/applications?limit=100&tenantId=${tenant.id}`)).result) {
        const devices = await this.call<List<{ devEui: string; lastSeenAt: string | null; deviceProfileId: string }>>('GET', `/api/devices?limit=1&orderBy=LAST_SEEN_AT&orderByDesc=true&applicationId=${application.id}`);
        const heard = devices.result[0];
        if (!heard?.lastSeenAt) continue;
        const gateways = await this.call<List<{ gatewayId: string }>>('GET', `/api/gateways?limit=1&orderBy=LAST_SEEN_AT&orderByDesc=true&tenantId=${tenant.id}`);
        return { tenantId: tenant.id, applicationId: application.id, devEui: heard.devEui, gatewayId: gateways.result[0]?.gatewayId ?? '', profileId: heard.deviceProfileId };
      }
    }
    throw new Error('no simulated device was heard yet');
  }
}

export async function demo(request: APIRequestContext) {
  const api = await Api.open(request);
  let found: Awaited<ReturnType<Api['demo']>> | undefined;
  await expect(async () => {
    found = await api.demo();
  }).toPass({ timeout: 40_000 });
  return found!;
}

/** No violation of WCAG 2 A and AA on what is shown; of the given rules only where there are any. */
export async function accessible(page: Page, what: string, rules?: string[]) {
  const axe = new AxeBuilder({ page });
  const { violations } = await (rules ? axe.withRules(rules) : axe.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'])).analyze();
  expect(violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target.join(' ')} ${n.failureSummary?.split('\n')[1]?.trim() ?? ''}`).join(' | ')}`), what).toEqual([]);
}

/** A page as it is looked at: light and dark on a desk, and on a phone, where nothing may overflow; each read by axe. Pictures of
 * it go to $LONGWAVE_SHOTS. */
export async function look(page: Page, name: string) {
  const desk = page.viewportSize()!;
  // What fades in or out is waited for: half a colour has half the contrast.
  const still = () => page.waitForFunction(() => document.getAnimations().every((a) => a.playState !== 'running' || a.effect?.getComputedTiming().iterations === Infinity));
  const shot = async (as: string) => {
    if (process.env.LONGWAVE_SHOTS) await page.screenshot({ path: `${process.env.LONGWAVE_SHOTS}/${as}.png`, fullPage: true });
  };
  await still();
  await accessible(page, name);
  await shot(name);
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark');
  await still();
  await accessible(page, `${name}, dark`, ['color-contrast']);
  await shot(`${name}-dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'light');
  await page.setViewportSize({ width: 390, height: 844 });
  await still();
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(over, `${name}, on a phone`).toBeLessThanOrEqual(0);
  await accessible(page, `${name}, on a phone`);
  await shot(`${name}-phone`);
  await page.setViewportSize(desk);
}
