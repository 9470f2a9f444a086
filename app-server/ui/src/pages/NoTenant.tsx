/* Nothing to show yet: no tenant that this user may see. */
import { Button } from '@mantine/core';
import { IconBuilding } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Empty } from '../ui/bits';
import { Page } from '../ui/Page';

export function NoTenant() {
  const { t } = useTranslation();
  const profile = useQuery(q.profile());
  const admin = tenantRights(profile.data, undefined).admin;
  return (
    <Page title={t('tenants.none')}>
      <div className="card">
        <Empty
          icon={<IconBuilding size={32} stroke={1.4} aria-hidden />}
          title={t('tenants.none')}
          text={admin ? t('tenants.noneAdmin') : t('tenants.noneUser')}
          action={
            admin && (
              <Button renderRoot={(p) => <Link to="/tenants/new" {...p} />}>{t('tenants.add')}</Button>
            )
          }
        />
      </div>
    </Page>
  );
}
