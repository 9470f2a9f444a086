/* One tenant: settings and users. */
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Failure, Page, Tabs } from '../ui/Page';

const route = getRouteApi('/shell/tenants/$tenantId');

export function Tenant() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const tenant = useQuery(q.tenant(tenantId));
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  if (tenant.error) return <Failure error={tenant.error} retry={() => void tenant.refetch()} />;
  const params = { tenantId };
  return (
    <Page
      crumbs={rights.admin ? [{ label: t('nav.tenants'), link: { to: '/tenants' } }] : []}
      title={tenant.data?.tenant?.name}
      meta={tenant.data?.tenant?.description ? <span>{tenant.data.tenant.description}</span> : undefined}
      actions={
        <Button variant="default" renderRoot={(p) => <Link to="/t/$tenantId" params={params} {...p} />}>
          {t('tenants.open')}
        </Button>
      }
    >
      <Tabs
        items={[
          { label: t('tabs.configuration'), link: { to: '/tenants/$tenantId', params }, exact: true },
          { label: t('nav.users'), link: { to: '/tenants/$tenantId/users', params } },
        ]}
      />
      <Outlet />
    </Page>
  );
}
