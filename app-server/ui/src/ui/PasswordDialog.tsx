/* The signed-in user changes the own password. */
import { PasswordInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { Dialog, DialogForm, saved, useSave } from './form';

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
    <Dialog close={close} title={t('shell.password')}>
      <DialogForm close={close} submit={submit} saving={saving} label={t('common.save')}>
        {alert}
        <PasswordInput label={t('users.newPassword')} description={t('users.passwordRule')} autoComplete="new-password" data-autofocus {...form.getInputProps('password')} visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} />
        <PasswordInput label={t('users.passwordAgain')} autoComplete="new-password" {...form.getInputProps('again')} visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} />
      </DialogForm>
    </Dialog>
  );
}
