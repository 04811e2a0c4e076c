<?php

/* php run.php <handler's directory> <store>: carries out the steps given as JSON, prints what each gave as JSON. */

declare(strict_types=1);

require __DIR__ . '/standins.php';

set_error_handler(static function (int $level, string $text, string $file, int $line): bool {
    if (error_reporting() & $level) {
        fwrite(STDERR, "PHP: {$text} in {$file}:{$line}\n");
    }

    return true;
});
Store::$path = $argv[2];
require $argv[1] . '/include.php';

final class Thing
{
    private $values;

    public function __construct(array $values)
    {
        $this->values = $values;
    }

    public function getId()
    {
        return $this->values['ID'];
    }

    public function getField($name)
    {
        return $this->values[$name];
    }

    public function getFUserId()
    {
        return $this->values['FUSER_ID'];
    }
}

function fire(array $step): array
{
    $given = $step['data'];
    if (isset($step['entity'])) {
        $given = new \Bitrix\Main\Event($step['module'], $step['event'], ['ENTITY' => new Thing($step['entity'])]);
    }
    $gave = [];
    foreach (GetModuleEvents($step['module'], $step['event']) as $handler) {
        $gave[] = ExecuteModuleEventEx($handler, [&$given]);
    }

    return $gave;
}

function rest(array $step)
{
    try {
        return call_user_func(\LetterTrail\Site\Rest::describe()['lettertrail'][$step['method']], $step['query']);
    } catch (\Bitrix\Rest\RestException $error) {
        return ['error' => $error->getMessage()];
    }
}

$does = [
    'fire' => 'fire',
    'rest' => 'rest',
    'mail' => static function (array $step) {
        return \Bitrix\Main\Mail\Event::send($step['data']);
    },
    'agent' => static function () {
        return \LetterTrail\Site\Site::agent();
    },
];
$results = [];
foreach (json_decode(stream_get_contents(STDIN), true) as $step) {
    $began = microtime(true);
    $results[] = ['gave' => $does[$step['do']]($step), 'seconds' => microtime(true) - $began];
}
echo json_encode($results), "\n";
