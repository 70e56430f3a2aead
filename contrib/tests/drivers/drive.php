
if ($argv[1] === 'key') {
    echo callback_key($argv[2]);
} else {
    [, , $key, $id, $timestamp, $signatures, $file] = $argv;
    echo verify($key, $id, $timestamp, $signatures, file_get_contents($file)) ? 'yes' : 'no';
}
