/* Sign in, then back to the page that was asked for. */
import { Text } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useTranslation } from 'react-i18next';
import { useToken } from '../api/session';
import { Logo } from '../ui/Logo';
import { SignInForm } from '../ui/SignInForm';

const route = getRouteApi('/login');

export function Login() {
  const { t } = useTranslation();
  const { next } = route.useSearch();
  const router = useRouter();
  const token = useToken();
  useDocumentTitle(`${t('login.title')} · Longwave`);
  // Also when another tab has signed in.
  useEffect(() => {
    if (token) router.history.replace(next ?? '/');
  }, [token, next, router]);
  return (
    <main className="login">
      <div className="card">
        <div style={{ color: 'var(--lw-accent)', marginBottom: 14 }}>
          <Logo size={34} />
        </div>
        <h1>{t('login.title')}</h1>
        <Text size="sm" c="dimmed" mb={20}>
          {t('login.subtitle')}
        </Text>
        <SignInForm done={() => undefined} />
      </div>
    </main>
  );
}
