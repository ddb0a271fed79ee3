<?php

// Publishes in the manner of Phabricator's own client (PhabricatorNotificationClient over libphutil's
// HTTPSFuture): HTTP/1.1, the JSON as a raw string of POST fields, so that curl calls it a form, no
// "Expect", 2 seconds for everything, no redirects, handles and their connections used again.
//
// Reads commands from stdin, one JSON object on a line, and answers each with one on stdout:
//   {"do": "post", "servers": ["http://…", …], "instance": NAME or null, "data": {…}}
//   {"do": "status", "server": "http://…", "instance": NAME or null}
// To "post", servers are tried in random order until one accepts.

$handle = curl_init();

function request($handle, $uri, $body) {
  $options = array(
    CURLOPT_URL => $uri,
    CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
    CURLOPT_HTTPHEADER => array('Expect:', 'Accept-Encoding: gzip', 'User-Agent: libphutil/1.0'),
    CURLOPT_FOLLOWLOCATION => false,
    CURLOPT_TIMEOUT_MS => 2000,
    CURLOPT_NOSIGNAL => true,
    CURLOPT_RETURNTRANSFER => true,
  );
  curl_reset($handle);  // keeps the connection
  if ($body !== null) {
    $options[CURLOPT_POST] = true;
    $options[CURLOPT_POSTFIELDS] = $body;
  }
  curl_setopt_array($handle, $options);
  $answer = curl_exec($handle);
  return array(
    'server' => $uri,
    'error' => $answer === false ? curl_error($handle) : null,
    'status' => curl_getinfo($handle, CURLINFO_RESPONSE_CODE),
    'connects' => curl_getinfo($handle, CURLINFO_NUM_CONNECTS),
    'body' => $answer === false ? null : $answer,
  );
}

function uri($server, $path, $instance) {
  $query = $instance === null ? '' : '?' . http_build_query(array('instance' => $instance));
  return rtrim($server, '/') . $path . $query;
}

while (($line = fgets(STDIN)) !== false) {
  $command = json_decode($line, true);
  if ($command['do'] == 'status') {
    $result = request($handle, uri($command['server'], '/status/', $command['instance']), null);
  } else {
    $servers = $command['servers'];
    shuffle($servers);
    $tried = array();
    foreach ($servers as $server) {
      $result = request($handle, uri($server, '/', $command['instance']), json_encode($command['data']));
      $tried[] = $server;
      if ($result['status'] >= 200 && $result['status'] < 300) {
        break;
      }
    }
    $result['tried'] = $tried;
  }
  echo json_encode($result) . "\n";
  flush();
}
