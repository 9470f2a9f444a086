/* The tenant's devices, one application at a time: the API lists devices by application. */
import { Button, Select } from '@mantine/core';
import { IconBox, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { mayWriteApplication, tenantRights } from '../lib/rights';
import { Empty } from '../ui/bits';
import { Failure, Page } from '../ui/Page';
import { DeviceTable } from './DeviceTable';

const route = getRouteApi('/shell/t/$tenantId/devices');

export function Devices() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const applications = useQuery(q.applicationChoice(tenantId));
  const me = useQuery(q.profile());
  const list = applications.data?.result ?? [];
  const applicationId = list.find((a) => a.id === search.app)?.id ?? list[0]?.id ?? '';
  const may = mayWriteApplication(me.data, tenantId, applicationId);
  const go = (next: typeof search, replace: boolean) => void navigate({ to: '/t/$tenantId/devices', params: { tenantId }, search: next, replace });
  const add = may && applicationId && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/applications/$applicationId/devices/new" params={{ applicationId }} {...p} />}>
      {t('devices.add')}
    </Button>
  );
  if (applications.error) return <Failure error={applications.error} retry={() => void applications.refetch()} />;
  return (
    <Page title={t('nav.devices')} actions={add}>
      {applications.data && list.length === 0 ? (
        <div className="card">
          <Empty
            icon={<IconBox size={34} stroke={1.4} aria-hidden />}
            title={t('applications.none')}
            text={t('devices.needApplication')}
            action={tenantRights(me.data, tenantId).devices && <Button renderRoot={(p) => <Link to="/t/$tenantId/applications/new" params={{ tenantId }} {...p} />}>{t('applications.add')}</Button>}
          />
        </div>
      ) : (
        <DeviceTable
          applicationId={applicationId}
          search={search}
          onSearch={(next) => go(next, next.q !== search.q)}
          mayWrite={may}
          add={add}
          filters={<Select aria-label={t('applications.one')} w={220} searchable allowDeselect={false} leftSection={<IconBox size={15} aria-hidden />} data={list.map((a) => ({ value: a.id, label: a.name }))} value={applicationId || null} onChange={(app) => app && go({ app }, false)} />}
        />
      )}
    </Page>
  );
}
