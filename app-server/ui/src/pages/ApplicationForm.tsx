/* Add an application, change one, delete one. */
import { Skeleton, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { mayWriteApplication, tenantRights } from '../lib/rights';
import { Deletion, fromPairs, PageForm, PairsField, saved, toPairs, useSave, type Pairs } from '../ui/form';
import { Page } from '../ui/Page';

type Application = Schemas['api.Application'];
interface Values extends Record<string, unknown> {
  name: string;
  description: string;
  tags: Pairs;
}

const newRoute = getRouteApi('/shell/t/$tenantId/applications/new');
const editRoute = getRouteApi('/shell/applications/$applicationId');

function Fields({ tenantId, application, readOnly, done }: { tenantId: string; application?: Application; readOnly?: boolean; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { name: application?.name ?? '', description: application?.description ?? '', tags: toPairs(application?.tags) } });
  const { submit, saving, alert } = useSave({
    form,
    save: async (v: Values) => {
      const body = { application: { ...application, ...v, tenantId, tags: fromPairs(v.tags) } };
      if (!application) return (await ok(api.POST('/api/applications', { body }))).id;
      await ok(api.PUT('/api/applications/{id}', { params: { path: { id: application.id } }, body }));
      return application.id;
    },
    done: async (id) => {
      await changed('application');
      saved(t('common.saved'));
      await done(id);
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={application ? t('common.save') : t('applications.add')} readOnly={readOnly} cancel={!application && { to: '/t/$tenantId/applications', params: { tenantId } }}>
      <fieldset>
        <legend>{t('applications.one')}</legend>
        <TextInput label={t('common.name')} data-autofocus {...form.getInputProps('name')} />
        <Textarea label={t('common.description')} autosize minRows={2} {...form.getInputProps('description')} />
        <PairsField label={t('common.tags')} description={t('applications.tagsHelp')} value={form.values.tags} onChange={(v) => form.setFieldValue('tags', v)} />
      </fieldset>
    </PageForm>
  );
}

export function ApplicationNew() {
  const { t } = useTranslation();
  const { tenantId } = newRoute.useParams();
  const navigate = useNavigate();
  return (
    <Page crumbs={[{ label: t('nav.applications'), link: { to: '/t/$tenantId/applications', params: { tenantId } } }]} title={t('applications.add')}>
      <Fields tenantId={tenantId} done={(applicationId) => navigate({ to: '/applications/$applicationId', params: { applicationId } })} />
    </Page>
  );
}

export function ApplicationConfig() {
  const { t } = useTranslation();
  const { applicationId } = editRoute.useParams();
  const navigate = useNavigate();
  const { data } = useQuery(q.application(applicationId));
  const devices = useQuery(q.devices(applicationId, {}));
  const a = data?.application;
  const me = useQuery(q.profile()).data;
  const rights = tenantRights(me, a?.tenantId);
  if (!a || !me) return <Skeleton h={300} />;
  const count = devices.data?.totalCount;
  return (
    <div className="stack">
      <Fields key={data.updatedAt} tenantId={a.tenantId} application={a} readOnly={!mayWriteApplication(me, a.tenantId, applicationId)} done={() => undefined} />
      {rights.devices && (
        <div>
          <Deletion
            disabled={count === undefined}
            name={a.name}
            title={t('applications.delete')}
            text={t('applications.deleteText', { name: a.name })}
            takes={count ? t('applications.takes', { count }) : undefined}
            action={() => ok(api.DELETE('/api/applications/{id}', { params: { path: { id: applicationId } } }))}
            done={async () => {
              await navigate({ to: '/t/$tenantId/applications', params: { tenantId: a.tenantId } });
              await changed('application', 'device');
            }}
          />
        </div>
      )}
    </div>
  );
}
