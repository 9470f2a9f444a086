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
    rollupOptions: {
      output: {
        // What every page needs, in two files that stay in the cache from release to release.
        manualChunks: (id) => {
          if (/node_modules\/(react|react-dom|scheduler)\//.test(id)) return 'react';
          if (/node_modules\/(@tanstack\/(react-router|router-core|history|react-query|query-core|react-store|store))\//.test(id)) return 'data';
          return undefined;
        },
      },
    },
  },
  server: { proxy: { '/api': process.env.LONGWAVE_URL ?? 'http://127.0.0.1:8080' } },
  test: {
    include: ['tests/unit/**/*.test.ts'],
    environment: 'node',
    reporters: report ? ['default', 'junit'] : ['default'],
    outputFile: report,
  },
});
