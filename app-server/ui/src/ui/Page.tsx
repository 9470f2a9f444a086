/* Head of a page: breadcrumbs, title, state and figures, actions; tabs as links with addresses of their own. */
import { Alert, Button, Skeleton } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useDocumentTitle } from '@mantine/hooks';
import { Link, useLocation, type LinkProps } from '@tanstack/react-router';
import { useEffect, useRef, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, CODE } from '../api/errors';

export interface Crumb {
  label: string;
  link?: LinkProps;
}

export function Page({ crumbs = [], title, meta, actions, children }: { crumbs?: Crumb[]; title: string | undefined; meta?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  const { t } = useTranslation();
  useDocumentTitle(title ? `${title} · Longwave` : 'Longwave');
  return (
    <>
      {crumbs.length > 0 && (
        <nav aria-label={t('common.breadcrumbs')}>
          <ol className="crumbs">
            {crumbs.map((c) => (
              <li key={c.label}>{c.link ? <Link {...c.link}>{c.label}</Link> : c.label}</li>
            ))}
          </ol>
        </nav>
      )}
      <header className="page-head">
        <div style={{ minWidth: 0 }}>
          <h1>{title ?? <Skeleton h={20} w={200} mt={4} mb={4} />}</h1>
          {meta && <div className="page-meta">{meta}</div>}
        </div>
        {actions && <div className="page-actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

export function Tabs({ items }: { items: { label: string; link: LinkProps; exact?: boolean }[] }) {
  const { t } = useTranslation();
  const nav = useRef<HTMLElement>(null);
  const path = useLocation().pathname;
  // On a phone the tab that is open may lie beside the screen.
  useEffect(() => {
    nav.current?.querySelector('.active')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  }, [path, items.length]);
  return (
    <nav ref={nav} className="tabs" aria-label={t('common.sections')}>
      {items.map((i) => (
        <Link key={i.label} {...i.link} activeOptions={{ exact: i.exact ?? false, includeSearch: false }} activeProps={{ className: 'active' }}>
          {i.label}
        </Link>
      ))}
    </nav>
  );
}

/** What to show instead of a page that could not be loaded. */
export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useTranslation();
  const missing = error instanceof ApiError && (error.code === CODE.notFound || error.code === CODE.permissionDenied);
  return (
    <Alert variant="outline" color="red" icon={<IconAlertTriangle size={18} />} title={missing ? t('errors.missing') : t('errors.failed')} styles={{ title: { color: 'var(--lw-bad)' } }} bg="var(--lw-surface)">
      <p style={{ margin: '0 0 10px' }}>{error instanceof Error ? error.message : String(error)}</p>
      {retry && !missing && (
        <Button size="xs" variant="default" onClick={retry}>
          {t('common.retry')}
        </Button>
      )}
      {missing && (
        <Button size="xs" variant="default" renderRoot={(p) => <Link to="/" {...p} />}>
          {t('errors.home')}
        </Button>
      )}
    </Alert>
  );
}
