// Node.js, of any version since 8, loads this before each program of a job. What an action asks of GitHub's cache goes to the cache of
// the machine's host; everything else goes where it went, and is not looked at. A mistake here changes nothing for the program.
'use strict';
try {
  const { env } = process;
  const cache = env.FIREACTIONS_ACTIONS_CACHE && new URL(env.FIREACTIONS_ACTIONS_CACHE);
  // The runner's word on the workflow's `cache-mode`, which GitHub's service enforces: what it forbids is asked there.
  const modes = { read: ['GetCacheEntryDownloadURL'], 'write-only': ['CreateCacheEntry', 'FinalizeCacheEntryUpload'], none: [] };
  const permitted = modes[env.ACTIONS_CACHE_MODE];
  // Actions have these; a job's own programs do not, and nothing changes for them.
  if (cache && env.ACTIONS_CACHE_URL && !permitted) env.ACTIONS_CACHE_URL = cache.href;
  if (cache && env.ACTIONS_RESULTS_URL) lead(cache, new URL(env.ACTIONS_RESULTS_URL), permitted);
} catch (error) {
  // Nothing to do.
}

/** Leads the calls of the cache's service at `results` to `cache`, whose path is the job's token; all of them, or those `permitted`. */
function lead(cache, results, permitted) {
  const http = require('node:http');
  const https = require('node:https');
  const plain = http.request;
  const service = '/twirp/github.actions.results.api.v1.CacheService/';
  const token = cache.pathname.replaceAll('/', '');
  const isLed = (path) => path.startsWith(service) && (!permitted || permitted.includes(path.slice(service.length)));
  for (const from of [http, https]) {
    const request = from.request;
    from.request = function (first, ...more) {
      const asked = first instanceof URL || typeof first === 'string' ? undefined : first;
      const host = asked && (asked.hostname || asked.host);
      if (host !== results.hostname || !isLed(String(asked.path))) return request.call(this, first, ...more);
      const headers = {};
      for (const [name, value] of Object.entries(asked.headers || {})) {
        if (!['authorization', 'host'].includes(name.toLowerCase())) headers[name] = value;
      }
      // In this version of the service, what the action has for GitHub is told to GitHub alone.
      headers.authorization = `Bearer ${token}`;
      const { method, path, timeout, signal } = asked;
      return plain.call(http, { host: cache.hostname, port: cache.port || 80, method, path, headers, timeout, signal }, ...more);
    };
  }
  // For those that import them.
  require('node:module').syncBuiltinESMExports();
}
