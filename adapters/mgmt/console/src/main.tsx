// The console begins here: sign in, find the page for the URL, draw it.

import { render, type ComponentType } from 'preact';
import { useEffect, useErrorBoundary, useState } from 'preact/hooks';
import { api, type Json } from './lib/api';
import { route } from './lib/router';
import { adopt, askTabs, authorization, me, watchIdle } from './lib/session';
import { Dialogs } from './ui/dialog';
import { Palette } from './ui/palette';
import { Button, Note, Page } from './ui/parts';
import { Shell } from './ui/shell';
import { Toasts } from './ui/toast';
import './ui/theme';
import { SignIn } from './pages/signin';
import { pages } from './pages';
import 'uplot/dist/uPlot.min.css';
import './css/base.css';
import './css/layout.css';
import './css/parts.css';
import './css/list.css';
import './css/pages.css';

/** Minutes without activity after which the console signs out, unless the broker says otherwise. */
const idleMinutes = 60;

function App() {
  const [ready, setReady] = useState(!!me.value);
  const [idle, setIdle] = useState(idleMinutes);
  const user = me.value;

  useEffect(() => {
    const begin = async () => {
      const header = authorization() || await askTabs();
      if (header) await adopt(header, () => api.get('/whoami')).catch(() => {});
      setReady(true);
    };
    void begin();
    api.get('/auth').then((a: Json) => {
      const minutes = Number(a?.login_session_timeout);
      if (minutes > 0) setIdle(minutes);
    }, () => {});
  }, []);
  useEffect(() => (user ? watchIdle(idle) : undefined), [user, idle]);

  if (!ready) return <p class="starting" role="status">Leveret</p>;
  if (!user) return <><SignIn /><Toasts /></>;
  return (
    <>
      <Shell><Current /></Shell>
      <Dialogs />
      <Palette />
      <Toasts />
    </>
  );
}

function Current() {
  const [name = 'overview', ...rest] = route.value.parts;
  const Body = pages[name];
  useEffect(() => {
    document.getElementById('main')?.scrollTo(0, 0);
  }, [route.value.parts.join('/')]);
  if (!Body) return <Page title="No such page"><Note title="Nothing is here">The link may be of another version. The navigation has all pages.</Note></Page>;
  return <Guard key={route.value.parts.join('/')} body={Body} parts={rest} />;
}

/** Guard keeps a fault in one page from taking the others along. */
function Guard({ body: Body, parts }: { body: ComponentType<{ parts: string[] }>; parts: string[] }) {
  const [error, again] = useErrorBoundary((err) => console.error(err));
  if (error) {
    return <Page title="This page broke"><Note tone="bad" title={String(error.message ?? error)}>This is a fault of the console, not of your broker. <Button onClick={again}>Try again</Button></Note></Page>;
  }
  return <Body parts={parts} />;
}

const mount = () => render(<App />, document.getElementById('app')!);
if (document.readyState === 'loading') addEventListener('DOMContentLoaded', mount);
else mount();
