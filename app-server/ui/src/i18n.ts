/* Languages: English is part of the first load, others are fetched when chosen. */
import i18n from 'i18next';
import { initReactI18next, useTranslation } from 'react-i18next';
import en from './locales/en.json';

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;
const KEY = 'longwave.language';

declare module 'i18next' {
  interface CustomTypeOptions {
    resources: { translation: typeof en };
    returnNull: false;
  }
}

export function preferredLanguage(kept: string | null, browser: readonly string[]): Language {
  for (const tag of [kept ?? '', ...browser]) {
    const short = tag.slice(0, 2).toLowerCase();
    if (short in LANGUAGES) return short as Language;
  }
  return 'en';
}

/** How numbers and times are written: as the browser's owner does where the language is the same (en-US, en-IE), else as in its plainest form. */
export function regional(language: string, browser: readonly string[]): string {
  return browser.find((tag) => tag.toLowerCase().startsWith(`${language}-`)) ?? (language === 'en' ? 'en-GB' : language);
}

export function useLocale(): string {
  const { i18n: now } = useTranslation();
  return regional(now.language, navigator.languages);
}

export async function setLanguage(language: Language, remember = true): Promise<void> {
  if (language === 'de' && !i18n.hasResourceBundle('de', 'translation'))
    i18n.addResourceBundle('de', 'translation', (await import('./locales/de.json')).default);
  await i18n.changeLanguage(language);
  document.documentElement.lang = language;
  if (remember) localStorage.setItem(KEY, language);
}

export async function startLanguages(): Promise<void> {
  await i18n.use(initReactI18next).init({
    lng: 'en',
    fallbackLng: 'en',
    resources: { en: { translation: en } },
    interpolation: { escapeValue: false },
  });
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    kept = null;
  }
  const language = preferredLanguage(kept, navigator.languages);
  await setLanguage(language, false).catch(() => undefined);
}

export default i18n;
