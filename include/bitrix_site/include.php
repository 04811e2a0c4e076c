<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/*
 * LetterTrail's handler for a self-hosted 1C-Bitrix site. From /local/php_interface/init.php:
 *
 *     require_once $_SERVER['DOCUMENT_ROOT'] . '/local/php_interface/lettertrail/include.php';
 *
 * docs/site-handler.md says what it does. To switch it off, remove that line or config.php.
 */

foreach (['Config', 'Queue', 'Inbox', 'Courier', 'Events', 'Mail', 'Rest', 'Site'] as $class) {
    require_once __DIR__ . "/src/{$class}.php";
}

Site::start(__DIR__ . '/config.php');
