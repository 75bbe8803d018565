import { useState } from 'preact/hooks';
import { api, ApiError } from '../lib/api';
import { adopt, basic, notice } from '../lib/session';
import { Hare } from '../ui/icons';
import { Button, Note } from '../ui/parts';

/** SignIn asks for a name and a password, or a token, and goes on where the URL points. */
export function SignIn() {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [token, setToken] = useState('');
  const [byToken, setByToken] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  document.title = 'Sign in · Leveret';

  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError('');
    try {
      await adopt(byToken ? `Bearer ${token.trim()}` : basic(name, password), () => api.get('/whoami'));
    } catch (err) {
      setError(why(err, byToken));
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form onSubmit={submit} aria-labelledby="signin-title">
        <div class="mark"><Hare size={44} /><h1 id="signin-title">Leveret</h1></div>
        {notice.value && !error && <Note tone="info" title={notice.value} />}
        {error && <Note tone="bad" title={error} />}
        {byToken ? (
          <label class="field"><span>Token</span><textarea name="token" rows={4} value={token} autofocus required spellcheck={false} class="mono" onInput={(e) => setToken(e.currentTarget.value)} /></label>
        ) : (
          <>
            <label class="field"><span>User</span><input name="username" value={name} autofocus required autocomplete="username" autocapitalize="none" spellcheck={false} onInput={(e) => setName(e.currentTarget.value)} /></label>
            <label class="field"><span>Password</span><input name="password" type="password" value={password} autocomplete="current-password" onInput={(e) => setPassword(e.currentTarget.value)} /></label>
          </>
        )}
        <Button type="submit" kind="primary" disabled={busy}>{busy ? 'Signing in…' : 'Sign in'}</Button>
        <button type="button" class="link" onClick={() => setByToken(!byToken)}>{byToken ? 'With name and password' : 'With a token instead'}</button>
      </form>
    </main>
  );
}

function why(err: unknown, byToken: boolean): string {
  if (!(err instanceof ApiError)) return String(err);
  if (err.status === 0) return 'The broker does not answer. Look whether it is running.';
  if (/localhost/i.test(err.reason)) return 'This user may only sign in from the machine the broker runs on. Make another user, or take it out of loopback_users.';
  if (/Not management user/.test(err.reason)) return 'This user exists but has none of the tags management, policymaker, monitoring and administrator. An administrator can give it one.';
  if (err.status === 401) return byToken ? 'The broker does not accept this token.' : 'Wrong user or password.';
  return err.reason;
}
