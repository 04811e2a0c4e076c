<?php

// Copy to config.php beside this file and fill in. Without config.php the handler does nothing at all.
return [
    // <public URL of the inbox>/<connection id>/site/<token>, as LETTERTRAIL_INBOX_ACCOUNTS has it
    'url' => 'https://inbox.example.com/bitrix_site/site/0123456789abcdef0123456789abcdef',
    // one of its `secrets.site`
    'secret' => '',
    // What is told: any of unsubscribe, subscribe, order, basket.
    'events' => ['unsubscribe', 'subscribe', 'order', 'basket'],
    // Mail events that LetterTrail sends in the site's place: ['SALE_NEW_ORDER', 'SALE_STATUS_CHANGED_F']. Empty: none.
    'mail' => [],
    // Where events wait, best outside the document root. Must be writable for the site.
    'queue' => __DIR__ . '/queue',
    // How long a letter may wait for the inbox: to reach it, and for its answer. Nothing else waits for it.
    'connect_seconds' => 1.0,
    'answer_seconds' => 3.0,
];
