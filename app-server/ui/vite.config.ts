import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const report = process.env.LONGWAVE_REPORT;

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: process.env.LONGWAVE_UI_OUT ?? 'dist',
    emptyOutDir: true,
    target: 'es2022',
    manifest: 'assets/manifest.json',
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': process.env.LONGWAVE_URL ?? 'http://127.0.0.1:8080' } },
  test: {
    include: ['tests/unit/**/*.test.ts'],
    environment: 'node',
    reporters: report ? ['default', 'junit'] : ['default'],
    outputFile: report,
  },
});
