import { defineConfig } from '@playwright/test';

const report = process.env.LONGWAVE_REPORT;

// Drives the real stack: $LONGWAVE_URL with $LONGWAVE_PASSWORD, or one that tests/pages/stack.ts starts.
export default defineConfig({
  testDir: 'tests/pages',
  globalSetup: './tests/pages/stack.ts',
  workers: 1,
  timeout: 90_000,
  // Machines are shared: a second try tells a slow moment from a defect.
  retries: 1,
  expect: { timeout: 15_000 },
  reporter: report ? [['list'], ['junit', { outputFile: report }]] : [['list']],
  use: {
    browserName: 'chromium',
    locale: 'en-GB',
    viewport: { width: 1280, height: 860 },
    trace: 'off',
    screenshot: 'only-on-failure',
    launchOptions: { executablePath: process.env.LONGWAVE_CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-background-networking', '--disable-dev-shm-usage'] },
  },
});
