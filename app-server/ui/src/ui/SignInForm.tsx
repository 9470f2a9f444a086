/* E-mail and password; used by the sign-in page and over a page whose session has ended. */
import { Alert, Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { signedIn } from '../api/session';

export function SignInForm({ done }: { done: () => void | Promise<void> }) {
  const { t } = useTranslation();
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const mutation = useMutation({ mutationFn: () => ok(api.POST('/api/internal/login', { body: { email: email.trim(), password } })) });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    mutation.mutate(undefined, {
      onSuccess: async ({ jwt }) => {
        signedIn(jwt);
        await done();
      },
    });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap={14}>
        {mutation.error && (
          <Alert role="alert" variant="outline" color="red" icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)">
            {mutation.error.message}
          </Alert>
        )}
        <TextInput label={t('login.user')} name="email" autoComplete="username" autoCapitalize="none" spellCheck={false} required withAsterisk={false} data-autofocus autoFocus value={email} onChange={(e) => setEmail(e.currentTarget.value)} />
        <PasswordInput label={t('login.password')} name="password" autoComplete="current-password" required withAsterisk={false} value={password} onChange={(e) => setPassword(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} />
        <Button type="submit" loading={mutation.isPending} fullWidth mt={4}>
          {t('login.submit')}
        </Button>
      </Stack>
    </form>
  );
}
