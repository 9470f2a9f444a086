/* Add a user, change one, set a password, delete one. */
import { Button, PasswordInput, Skeleton, Switch, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { Deletion, PageForm, saved, useSave } from '../ui/form';
import { Failure, Page } from '../ui/Page';

const Password = lazy(() => import('../ui/PasswordDialog'));
type User = Schemas['api.User'];
interface Values extends Record<string, unknown> {
  email: string;
  note: string;
  isActive: boolean;
  isAdmin: boolean;
  password: string;
}
const route = getRouteApi('/shell/users/$userId');

function Fields({ user, done }: { user?: User; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { email: user?.email ?? '', note: user?.note ?? '', isActive: user?.isActive ?? true, isAdmin: user?.isAdmin ?? false, password: '' } });
  const { submit, saving, alert } = useSave({
    form,
    hints: { Password: 'password', user: 'email' },
    save: async ({ password, ...v }: Values) => {
      const body = { user: { ...user, ...v } };
      if (!user) return (await ok(api.POST('/api/users', { body: { ...body, password } }))).id;
      await ok(api.PUT('/api/users/{id}', { params: { path: { id: user.id } }, body }));
      return user.id;
    },
    done: async (id) => {
      await changed('user', 'profile');
      saved(t('common.saved'));
      await done(id);
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={user ? t('common.save') : t('users.add')} cancel={!user && { to: '/users' }}>
      <fieldset>
        <legend>{t('users.one')}</legend>
        <TextInput label={t('users.email')} autoComplete="off" data-autofocus {...form.getInputProps('email')} />
        {!user && <PasswordInput label={t('login.password')} description={t('users.passwordRule')} autoComplete="new-password" visibilityToggleButtonProps={{ 'aria-label': t('login.showPassword') }} {...form.getInputProps('password')} />}
        <Textarea label={t('users.note')} autosize minRows={2} {...form.getInputProps('note')} />
        <Switch label={t('users.isActive')} {...form.getInputProps('isActive', { type: 'checkbox' })} />
        <Switch label={t('users.isAdmin')} description={t('users.isAdminHelp')} {...form.getInputProps('isAdmin', { type: 'checkbox' })} />
      </fieldset>
    </PageForm>
  );
}

export function UserNew() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  return (
    <Page crumbs={[{ label: t('nav.users'), link: { to: '/users' } }]} title={t('users.add')}>
      <Fields done={() => navigate({ to: '/users' })} />
    </Page>
  );
}

export function UserEdit() {
  const { t } = useTranslation();
  const { userId } = route.useParams();
  const navigate = useNavigate();
  const [password, setPassword] = useState(false);
  const query = useQuery(q.user(userId));
  const me = useQuery(q.profile()).data?.user?.id;
  const user = query.data?.user;
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return (
    <Page
      crumbs={[{ label: t('nav.users'), link: { to: '/users' } }]}
      title={user?.email}
      actions={
        <>
          <Button variant="default" onClick={() => setPassword(true)}>{t('shell.password')}</Button>
          {user && me && me !== userId && (
            <Deletion
              label={t('common.delete')}
              name={user.email}
              title={t('users.delete')}
              text={t('users.deleteText', { email: user.email })}
              action={() => ok(api.DELETE('/api/users/{id}', { params: { path: { id: userId } } }))}
              done={async () => {
                await navigate({ to: '/users' });
                await changed('user');
              }}
            />
          )}
        </>
      }
    >
      {user ? <Fields key={query.data?.updatedAt} user={user} done={() => undefined} /> : <Skeleton h={300} maw={720} />}
      <Suspense>{password && <Password userId={userId} close={() => setPassword(false)} />}</Suspense>
    </Page>
  );
}
