// SPDX-License-Identifier: MIT
// The web console's page: noVNC's client, on a WebSocket of the place that the page came from. What is behind
// the # of the page's address, which browsers tell no server, allows the connection.
import RFB from './novnc/core/rfb.js';

const element = id => document.getElementById(id);
const url = new URL('websockify', location.href);
url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
url.search = 'token=' + encodeURIComponent(location.hash.slice(1));
url.hash = '';

const say = text => { element('status').textContent = text; };
const rfb = new RFB(element('screen'), url.href, { wsProtocols: ['binary'] });
let there = false;
let why = '';

rfb.scaleViewport = true;
rfb.resizeSession = false;
rfb.addEventListener('connect', () => {
  there = true;
  say('connected to ' + document.title);
  rfb.focus();
});
rfb.addEventListener('desktopname', event => {
  document.title = event.detail.name;
  say('connected to ' + document.title);
});
rfb.addEventListener('credentialsrequired', () => {
  say('a password is needed');
  element('login').hidden = false;
  element('password').focus();
});
rfb.addEventListener('securityfailure', event => { why = event.detail.reason || 'a wrong password'; });
rfb.addEventListener('disconnect', () => {
  if (there) {
    say('the connection has ended: load this page again');
  } else {
    say('refused: ' + (why || 'is the address complete, as the program printed it?'));
  }
});
element('login').addEventListener('submit', event => {
  event.preventDefault();
  element('login').hidden = true;
  rfb.sendCredentials({ password: element('password').value });
  element('password').value = '';
  rfb.focus();
});
element('delete').addEventListener('click', () => { rfb.sendCtrlAltDel(); rfb.focus(); });
element('full').addEventListener('click', () => { element('screen').requestFullscreen(); rfb.focus(); });
element('fit').addEventListener('change', event => {
  rfb.scaleViewport = event.target.checked;
  rfb.clipViewport = rfb.dragViewport = false;
  element('screen').style.overflow = event.target.checked ? 'hidden' : 'auto';
  rfb.focus();
});
