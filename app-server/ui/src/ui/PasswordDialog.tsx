/* The signed-in user changes the own password. */
import { Button, Group, Modal, PasswordInput, Stack } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { saved, useSave } from './form';

export default function PasswordDialog({ userId, close }: { userId: string; close: () => void }) {
  const { t } = useTranslation();
  const form = useForm({ initialValues: { password: '', again: '' }, validate: { again: (v, all) => (v === all.password ? null : t('users.passwordsDiffer')) } });
  const { submit, saving, alert } = useSave({
    form,
    save: ({ password }) => ok(api.POST('/api/users/{userId}/password', { params: { path: { userId } }, body: { password } })),
    done: () => {
      saved(t('users.passwordSaved'));
      close();
    },
  });
  return (
    <Modal opened onClose={close} title={t('shell.password')} closeButtonProps={{ 'aria-label': t('common.close') }}>
      <form onSubmit={submit} noValidate>
        <Stack gap={14}>
          {alert}
          <PasswordInput label={t('users.newPassword')} description={t('users.passwordRule')} autoComplete="new-password" data-autofocus {...form.getInputProps('password')} visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} />
          <PasswordInput label={t('users.passwordAgain')} autoComplete="new-password" {...form.getInputProps('again')} visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} />
          <Group justify="flex-end" gap={8}>
            <Button variant="default" onClick={close}>
              {t('common.cancel')}
            </Button>
            <Button type="submit" loading={saving}>
              {t('common.save')}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
